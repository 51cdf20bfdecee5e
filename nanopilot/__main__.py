"""`python -m nanopilot` is the `nanopilot` command."""

from nanopilot.cli import main

if __name__ == "__main__":
    main()
