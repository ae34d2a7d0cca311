"""Reads a script from YAML. Whatever is wrong is told with file, line and key; nothing is guessed or left out.

All keys and what they do are the fields of carrier.simulator.script. For example:

system_id: smsgw                # any, if left out
password: secret
message_ids: uuid               # uuid, hex, decimal, ...: carrier.simulator.script_deliveries.ID_FORMS
responses: {delay_s: 0.05, none_every: 1000}
receipts:
  delay_s: 0.5
  states: [DELIVRD, UNDELIV]    # taken in turn
  rules:
    - {destination_suffix: "00", state: EXPIRED, error: "027"}
  form: both                    # both, text, tlv or id
  variants:                     # other receipts for some
    - {destination_prefix: "91", by: data_sm, ids: decimal}
errors:
  - {destination_prefix: "99", status: ESME_RINVDSTADR}
  - {every: 50, status: ESME_RSYSERR, times: 3}
answers:                        # odd ones
  - {to: query_sm, with: generic_nack}
throttle: {rate_s: 100}
disconnect_after: 5000
inbound:
  - {at_s: 2, from: "+4915112345678", to: "12345", text: STOP}
"""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import yaml

from carrier.simulator.errors import ScriptError
from carrier.simulator.script import Script
from carrier.simulator.script_tables import SCRIPT
from carrier.simulator.yaml_values import At, read_mapping

MAX_SCRIPT_BYTES = 1 << 20

_UNREAD = {field.name for field in fields(Script)} - set(SCRIPT)
if _UNREAD:
    raise ImportError(f"the script file cannot set {_UNREAD}")


def read_script(path: Path) -> Script:
    """Return the script in the file `path`. Raises ScriptError."""
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_SCRIPT_BYTES + 1)
    except OSError as error:
        raise ScriptError(f"{path}: {error.strerror}; give --script a readable YAML file") from error
    if len(octets) > MAX_SCRIPT_BYTES:
        raise ScriptError(f"{path}: a script has at most {MAX_SCRIPT_BYTES} octets")
    return parse_script(octets, str(path))


def parse_script(content: bytes | str, file: str = "script") -> Script:
    """Return the script in `content`; `file` is its name in errors. Raises ScriptError."""
    try:
        node = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ScriptError(f"{file}:{line}: this is not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ScriptError(f"{file}: this is not YAML: {type(error).__name__}") from error
    return Script() if node is None else Script(**read_mapping(At(file), node, SCRIPT))
