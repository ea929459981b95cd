"""`python -m ghostgo` is `ghostgo`."""

from ghostgo.cli import main

if __name__ == "__main__":
    main()
