"""``python -m resnetswift`` is the program ``resnet``, and so is the script that pip installs."""

import os
import sys

from . import _native


def main():
    try:
        program = _native.program()
    except _native.ResNetError as error:
        sys.exit(f"resnet: error: {error}")
    os.execv(program, ["resnet", *sys.argv[1:]])


if __name__ == "__main__":
    main()
