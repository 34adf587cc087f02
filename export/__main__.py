"""``python -m torch_sigmoid_ext.export`` is the command ``torch-sigmoid-ext``."""

import os
import sys

if __name__ == "__main__":
    if sys.path[:1] == [os.getcwd()]:
        del sys.path[0]  # python -m puts it there: a file of the user's is no library of ours
    from .cli import main

    main()
