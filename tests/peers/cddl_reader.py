"""Says of each CBOR message on standard input (hexadecimal, a line each) whether zcbor takes it by the schema named.

Runs in an environment of its own, where zcbor 0.9 is: it needs a cbor2 older than ours. zcbor generates C, so it wants
a name for every member, which CDDL does not ask for, and it calls null nil. Only names are added here: no type, no
range and no occurrence of the schema is touched.
"""

import contextlib
import re
import sys
from pathlib import Path

from zcbor import DataTranslator


def named(schema: str) -> str:
    """The schema with a name for each member of a map, and none of an array that is also a rule's."""
    text = re.sub(r";.*", "", schema).replace(" null", " nil")
    text = re.sub(r"(?<=[\[, (])([a-z][a-z0-9-]*): ", r"its-\1: ", text)
    text = re.sub(r"(?m)^( +(?:\? )?)(\d+): (.*?)(,?) *$", r"\1key-\2: (\2 => \3)\4", text)
    return re.sub(r"\{\d.*\}", lambda line: re.sub(r"(\d+): (\w+)", r"key-\1: (\1 => \2)", line[0]), text)


schema = DataTranslator.from_cddl(named(Path(sys.argv[1]).read_text()), 16).my_types["message"]
for line in sys.stdin:
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it tells at length what it refuses
            schema.validate_str(bytes.fromhex(line))
    except Exception:  # noqa: BLE001 - the library raises many kinds
        print("refused")
    else:
        print("valid")
