"""Writes docs/configuration.md from the settings type: `python -m docs.generate_configuration`."""

from __future__ import annotations

from pathlib import Path

from realtime.service.options import Option, options

PAGE = Path(__file__).with_name("configuration.md")

_INTRODUCTION = """\
# Configuration

<!-- Written by docs/generate_configuration.py from realtime/service/settings.py: change those. -->

`make run` needs none. A setting is said as a flag (`make run ARGS="--port 9000"`), as an environment variable
(`REALTIME_PORT=9000`) or as a line of a TOML file (`port = 9000`) that `--config FILE` or `REALTIME_CONFIG` names.
Flags win over variables, variables over the file, the file over the defaults. A value that cannot be used is told in
one line that names the setting and where it was said, and the service ends with status 2.

Lists are parts between commas, a JSON list, or a repeated flag; in the file they are TOML lists. A switch is turned
off by `--no-...`, `false` in a variable or the file. Secrets have no flag, because a command line can be read by
everybody on the machine. Settings with a dot stand in a table of the file:

```toml
port = 9000
names = ["kiosk.local"]
ice_servers = [{ urls = "turn:turn.example", username = "kiosk", credential = "..." }]

[floor]
silence_ms = 700
```

The model server that is started as a child reads its own `MODEL_SERVER_*` variables, too.
Keys and certificates: [certificates.md](certificates.md).

"""

_HEAD = "| setting | flag | variable | takes | default | is |\n|---|---|---|---|---|---|\n"


def page() -> str:
    """The whole page."""
    return _INTRODUCTION + _HEAD + "".join(map(_row, options()))


def _row(option: Option) -> str:
    flag = "" if option.is_secret else f"`{option.flag}`"
    if option.is_switch:
        flag = f"`{option.flag}`, `--no-{option.flag[2:]}`"
    cells = (f"`{'.'.join(option.path)}`", flag, f"`{option.variable}`", option.expected(), _default(option))
    return f"| {' | '.join(cells)} | {option.field.description} |\n"


def _default(option: Option) -> str:
    value = option.field.default
    if option.path == ("page_folder",):
        return "`web_client`"
    if value is None or value == []:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
