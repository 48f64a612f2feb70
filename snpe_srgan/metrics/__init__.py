"""PSNR and SSIM, the evaluation protocols, and the data sets they are measured on."""
