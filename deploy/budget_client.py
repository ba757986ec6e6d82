"""Ask the collector before you spend. Copy this file; it needs Python 3.9 and nothing else.

if may_call(model="gpt-4o", agent="planner"):
    ...                            # your call; a warning where a budget is nearly used up
else:
    ...                            # budget of action `skip`: leave out what can wait
                                   # BudgetExceeded: budget of action `fail`
"""

import json
import os
import urllib.error
import urllib.parse
import urllib.request
import warnings

URL = os.environ.get("BUDGETS_URL", "http://127.0.0.1:4320/api/v1/budgets")
TOKEN = os.environ.get("BUDGETS_TOKEN")


class BudgetExceeded(RuntimeError):
    """The call must not be made; `retry_after` is the seconds until the budget's period ends."""

    retry_after = 0


def may_call(if_unknown: bool = True, **call: str) -> bool:
    """Whether a call of this provider, model, agent, user, … may be made; `if_unknown` where nobody can tell."""
    headers = {"Authorization": f"Bearer {TOKEN}"} if TOKEN else {}
    request = urllib.request.Request(f"{URL}?{urllib.parse.urlencode(call)}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=3) as response:
            answer = json.load(response)
    except OSError as error:
        if isinstance(error, urllib.error.HTTPError) and error.code != 503:
            raise  # a wrong parameter or token, which no waiting cures
        warnings.warn(f"budgets are not known: {error}", stacklevel=2)
        return if_unknown
    if answer["state"] != "ok":
        warnings.warn(f"budget {answer['decided_by']}: {answer['state']}", stacklevel=2)
    if not answer["allowed"] and answer["action"] == "fail":
        exceeded = BudgetExceeded(f"budget {answer['decided_by']} is used up")
        exceeded.retry_after = answer["retry_after_seconds"]
        raise exceeded
    return bool(answer["allowed"])
