from snpe_srgan.api import compress as compress
from snpe_srgan.api import convert as convert
from snpe_srgan.api import evaluate as evaluate
from snpe_srgan.api import import_model as import_model
from snpe_srgan.api import open_session as open_session
from snpe_srgan.api import quantize as quantize
from snpe_srgan.api import read_picture as read_picture
from snpe_srgan.api import train as train
from snpe_srgan.api import upscale as upscale
from snpe_srgan.api import write_picture as write_picture

__version__: str
__all__: list[str]
