"""What `pql.yaml` says of accounts beside their names in the data."""

from __future__ import annotations

from features.setting import Setting


class Accounts(Setting):
    """Whose a user without an account is: `by_domain` names the trait whose e-mail address tells; None where nobody is joined."""

    by_domain: str | None = None
