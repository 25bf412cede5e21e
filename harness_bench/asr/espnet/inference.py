"""ESPnet's decoder and packer, for `asr.transcribe`; importing this takes 10 s."""

from espnet2.bin.asr_inference import Speech2Text
from espnet2.main_funcs.pack_funcs import pack as espnet_pack

__all__ = ["Speech2Text", "espnet_pack"]
