"""`python -m snpe_srgan` is the same as `snpe-srgan`."""

from snpe_srgan.cli.root import main

if __name__ == "__main__":
    main()
