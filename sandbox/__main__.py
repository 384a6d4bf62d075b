"""`python -m sandbox` is the command line too, wherever its script is."""

from sandbox.entry import main

if __name__ == "__main__":
    main()
