"""The pages of the development issuer: plain HTML, no script."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from vitne.dev.identity.configuration import Learner

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; color: #1b1b1b; }}
button {{ display: block; width: 100%; margin: .5rem 0; padding: .8rem 1rem; font: inherit; text-align: left;
  border: 2px solid #1d4f73; border-radius: .4rem; background: #fff; cursor: pointer; }}
button:hover, button:focus-visible {{ background: #e6f0f7; outline: 3px solid #f2a900; }}
</style>
</head>
<body>
<main>
<h1>{title}</h1>
{body}
</main>
</body>
</html>
"""


def choice_page(action: str, transaction: str, learners: Sequence[Learner]) -> str:
    """A form that asks which synthetic learner is logging in."""
    buttons = "\n".join(
        f'<button name="learner" value="{escape(learner.pid)}">{escape(learner.given_name)} '
        f"{escape(learner.family_name)}</button>"
        for learner in learners
    )
    return _PAGE.format(
        title="Who is logging in?",
        body=f"<p>This is a development log-in. Everybody here is made up.</p>\n"
        f'<form method="post" action="{escape(action)}">\n'
        f'<input type="hidden" name="transaction" value="{escape(transaction)}">\n{buttons}\n</form>',
    )


def message_page(title: str, message: str) -> str:
    """A page that says one thing."""
    return _PAGE.format(title=escape(title), body=f"<p>{escape(message)}</p>")
