"""``python -m torch_sigmoid_ext.export`` is the command ``torch-sigmoid-ext``."""

from .cli import main

if __name__ == "__main__":
    main()
