"""Runs Yosys passes in a process of its own: ``python worker.py FILE``, one pass per line of FILE.

Kept free of hwgen imports, so that it runs from any folder.  Yosys writes its log to
standard output; a failing pass ends the process with Yosys' own exit code.
"""

import sys


def main(path: str) -> int:
    from pyosys import libyosys

    design = libyosys.Design()
    with open(path, encoding="utf-8") as script:
        for line in script:
            if line.strip():
                libyosys.run_pass(line.strip(), design)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
