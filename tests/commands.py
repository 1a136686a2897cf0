"""Commands as a user types them, within the process of the tests."""

from hwgen.cli.main import main


def run(capsys, *words) -> tuple[int, str, str]:
    """(exit code, output, messages) of ``hwgen WORDS``."""
    code = main([str(word) for word in words])
    out, err = capsys.readouterr()
    return code, out, err
