"""The invented products that the demo world can play: what people do in each, and what of it makes them buy.

Owns behaviours and their true effects; knows nothing of who tries a product or how it is drawn.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import NamedTuple

from features.errors import InvalidInput, listing, suggestion


class Behaviour(NamedTuple):
    """What leads do: mean count on a busy day, how it moves the log rate, and the detail it carries.

    A count adds weight * log1p(min(count, cap)) to the log rate. Where `fresh` is set, the last week's
    count adds fresh * log1p(count) instead, and only that of older events goes by weight and cap.
    """

    event: str
    per_day: float
    weight: float
    cap: float = inf
    fresh: float = 0.0
    key: str = ""
    values: tuple[str | float, ...] = ()


# Leads decide when the trial runs out, and hesitate once it has; without an end, they take their time.
TWO_WEEKS = ((0, 0.2), (10, 1.3), (15, -0.4), (30, -2.0))
A_MONTH = ((0, 0.1), (7, -0.1), (25, 1.2), (31, -1.2))
NO_END = ((0, 0.0), (7, 0.2), (21, 0.4), (45, 0.1))


@dataclass(frozen=True)
class Product:
    """A product that people may try, and what makes them pay for it.

    Attributes
    ----------
    trial_days : length of the trial, None where free use has no end
    timing : pairs of a trial day and what is added to the log rate from that day on
    team, team_size, team_jump : from so many of this behaviour on, the log rate is higher by the jump
    pair, pair_jump : both of these having happened, the log rate is higher by the jump
    size, business : what a company e times as large adds to the log rate, and a business address
    base_log_rate : chosen by simulation so that 12-16 % of users convert within 60 days
    cancelled, converted, expanded : the events that end a trial, and one that only payers cause
    """

    name: str
    behaviours: tuple[Behaviour, ...]
    base_log_rate: float
    team: str
    team_size: int
    pair: tuple[str, str]
    trial_days: int | None = 14
    timing: tuple[tuple[int, float], ...] = TWO_WEEKS
    team_jump: float = 1.0
    pair_jump: float = 1.5
    size: float = 0.2
    business: float = 0.5
    cancelled: str = "trial_cancelled"
    converted: str = "subscription_started"
    expanded: str = "seat_added"

    @property
    def names(self) -> tuple[str, ...]:
        """The events of its behaviours, in their order."""
        return tuple(behaviour.event for behaviour in self.behaviours)

    @property
    def effects(self) -> tuple[tuple[float, float, float], ...]:
        """Weight, cap and fresh of each behaviour."""
        return tuple((behaviour.weight, behaviour.cap, behaviour.fresh) for behaviour in self.behaviours)


CORKBOARD = Product(
    name="Corkboard",
    base_log_rate=-9.6,
    # From this many teammates on, a team works in Corkboard.
    team="invite_accepted",
    team_size=3,
    # A limit alone annoys and a price alone is curiosity; both together are a plan to buy.
    pair=("limit_reached", "pricing_viewed"),
    behaviours=(
        Behaviour("session_started", 1.00, 0.0),
        Behaviour("project_created", 0.25, 0.10),
        Behaviour("task_completed", 0.80, 0.45, cap=6),
        Behaviour("comment_added", 0.50, 0.10, cap=4),
        Behaviour(
            "file_uploaded", 0.30, 0.20, cap=3, key="megabytes",
            values=tuple(round(0.1 * 1.3**step, 1) for step in range(25)),
        ),
        Behaviour("invite_sent", 0.20, 0.20, key="role", values=("member", "member", "guest", "admin")),
        Behaviour("invite_accepted", 0.12, 0.30),
        Behaviour("integration_connected", 0.05, 0.50),
        Behaviour("report_viewed", 0.25, 0.45, cap=3),
        Behaviour("api_call", 0.70, 0.35, cap=6, key="endpoint", values=("/boards", "/tasks", "/search", "/export")),
        Behaviour("limit_reached", 0.08, 0.20, fresh=0.50, key="limit", values=("boards", "members", "storage")),
        Behaviour("pricing_viewed", 0.10, 0.20, fresh=0.50, key="plan", values=("team", "team", "business")),
        Behaviour("export_downloaded", 0.10, 0.30, cap=2),
        Behaviour("support_ticket_opened", 0.05, -0.50),
        Behaviour("theme_changed", 0.08, 0.0),
        Behaviour("help_article_viewed", 0.25, 0.0),
    ),
)  # fmt: skip

# Team chat: talk and company decide, and the wall that old messages disappear behind.
MESSAGING = Product(
    name="Palaver",
    base_log_rate=-9.8,
    team="teammate_joined",
    team_size=3,
    pair=("history_limit_reached", "pricing_viewed"),
    pair_jump=1.2,
    behaviours=(
        Behaviour("app_opened", 1.20, 0.0),
        Behaviour("message_sent", 5.00, 0.40, cap=80, key="channel", values=("public", "public", "private", "direct")),
        Behaviour("channel_created", 0.20, 0.15, cap=5, key="visibility", values=("public", "public", "private")),
        Behaviour("invite_sent", 0.25, 0.10, key="role", values=("member", "member", "guest")),
        Behaviour("teammate_joined", 0.16, 0.35),
        Behaviour("guest_added", 0.05, 0.30, cap=3),
        Behaviour(
            "integration_installed", 0.07, 0.45, cap=4, key="app", values=("calendar", "issues", "files", "alerts")
        ),
        Behaviour("huddle_started", 0.15, 0.40, cap=4, key="minutes", values=(5, 10, 15, 25, 40, 60)),
        Behaviour("file_shared", 0.30, 0.10, cap=4),
        Behaviour("search_run", 0.30, 0.15, cap=5),
        Behaviour("history_limit_reached", 0.09, 0.20, fresh=0.55, key="hidden_messages", values=(40, 150, 600, 2000)),
        Behaviour("pricing_viewed", 0.09, 0.20, fresh=0.45, key="plan", values=("pro", "pro", "business")),
        Behaviour("notifications_muted", 0.06, -0.40, cap=3),
        Behaviour("emoji_added", 0.15, 0.0),
        Behaviour("theme_changed", 0.06, 0.0),
    ),
)

# Pages that others read: shared work and moved-in knowledge decide, the company behind it little.
DOCUMENTS = Product(
    name="Foliary",
    base_log_rate=-10.75,
    trial_days=None,
    timing=NO_END,
    team="member_joined",
    team_size=2,
    pair=("guest_invited", "block_limit_reached"),
    pair_jump=1.3,
    cancelled="account_closed",
    converted="plan_upgraded",
    behaviours=(
        Behaviour("app_opened", 1.00, 0.0),
        Behaviour("page_created", 0.70, 0.40, cap=8),
        Behaviour("page_edited", 1.00, 0.10, cap=10),
        Behaviour("comment_added", 0.40, 0.15, cap=5),
        Behaviour("page_shared", 0.30, 0.45, cap=6, key="with", values=("teammate", "teammate", "guest", "link")),
        Behaviour("guest_invited", 0.10, 0.30, cap=4),
        Behaviour("member_joined", 0.12, 0.35),
        Behaviour(
            "template_used", 0.20, 0.05, cap=2, key="template", values=("wiki", "meeting notes", "roadmap", "tasks")
        ),
        Behaviour("import_finished", 0.05, 0.60, cap=3, key="pages", values=(5, 12, 40, 120, 400)),
        Behaviour("database_created", 0.12, 0.35, cap=3),
        Behaviour("integration_connected", 0.05, 0.30, cap=3, key="app", values=("calendar", "chat", "issues")),
        Behaviour("block_limit_reached", 0.08, 0.25, fresh=0.55),
        Behaviour("pricing_viewed", 0.09, 0.15, fresh=0.50, key="plan", values=("plus", "plus", "business")),
        Behaviour("page_deleted", 0.08, -0.35, cap=4),
        Behaviour("search_run", 0.20, 0.0),
        Behaviour("icon_changed", 0.15, 0.0),
    ),
)

# A canvas for teams: a second editor, a library and the hand-off to developers decide.
DESIGN = Product(
    name="Easelwood",
    base_log_rate=-10.2,
    trial_days=30,
    timing=A_MONTH,
    team="editor_joined",
    team_size=2,
    team_jump=1.1,
    pair=("prototype_shared", "seat_limit_reached"),
    pair_jump=1.3,
    expanded="editor_seat_added",
    behaviours=(
        Behaviour("session_started", 0.90, 0.0),
        Behaviour("file_created", 0.35, 0.20, cap=6),
        Behaviour("frame_drawn", 2.00, 0.15, cap=30),
        Behaviour("editor_joined", 0.12, 0.45),
        Behaviour("viewer_invited", 0.25, 0.05, cap=4),
        Behaviour("comment_added", 0.40, 0.15, cap=5),
        Behaviour("prototype_shared", 0.15, 0.45, cap=4, key="viewers", values=(1, 1, 2, 3, 5, 8)),
        Behaviour("component_created", 0.30, 0.30, cap=6),
        Behaviour("library_published", 0.05, 0.65, cap=2, key="components", values=(4, 8, 15, 30, 60)),
        Behaviour("handoff_viewed", 0.15, 0.45, cap=4, key="language", values=("css", "css", "swift", "kotlin")),
        Behaviour("plugin_installed", 0.12, 0.10, cap=3),
        Behaviour("seat_limit_reached", 0.07, 0.20, fresh=0.55, key="limit", values=("editors", "editors", "files")),
        Behaviour("pricing_viewed", 0.09, 0.15, fresh=0.45, key="plan", values=("team", "team", "organization")),
        Behaviour("export_failed", 0.06, -0.45, cap=4),
        Behaviour("font_uploaded", 0.06, 0.0),
        Behaviour("tutorial_watched", 0.20, 0.0),
    ),
)

# Sending e-mail: nothing counts before the domain is verified, and whoever has a list to write to stays.
EMAIL = Product(
    name="Pigeonry",
    base_log_rate=-9.6,
    team="domain_verified",
    team_size=1,
    team_jump=1.2,
    pair=("domain_verified", "contacts_imported"),
    pair_jump=1.2,
    size=0.1,
    business=0.8,
    converted="plan_purchased",
    expanded="dedicated_ip_added",
    behaviours=(
        Behaviour("session_started", 0.90, 0.0),
        Behaviour("domain_verified", 0.06, 0.20, cap=2, key="record", values=("cname", "cname", "txt")),
        Behaviour("contacts_imported", 0.12, 0.45, cap=4, key="contacts", values=(50, 120, 300, 800, 2000, 5000)),
        Behaviour("campaign_sent", 0.20, 0.50, cap=6, key="emails", values=(20, 60, 150, 400, 1000, 2500)),
        Behaviour(
            "api_email_sent", 1.20, 0.25, cap=20, key="template", values=("receipt", "receipt", "welcome", "reset")
        ),
        Behaviour("template_created", 0.20, 0.10, cap=3),
        Behaviour("automation_started", 0.06, 0.50, cap=2, key="trigger", values=("sign-up", "purchase", "date")),
        Behaviour("signup_form_published", 0.06, 0.20, cap=2),
        Behaviour("deliverability_report_viewed", 0.15, 0.30, cap=4),
        Behaviour("sending_limit_reached", 0.08, 0.20, fresh=0.55),
        Behaviour("pricing_viewed", 0.09, 0.15, fresh=0.50, key="plan", values=("starter", "growth", "growth")),
        Behaviour("integration_connected", 0.06, 0.35, cap=3, key="app", values=("shop", "crm", "forms")),
        Behaviour("teammate_joined", 0.05, 0.25, cap=4),
        Behaviour(
            "email_bounced", 0.25, -0.30, cap=8, key="reason", values=("unknown address", "mailbox full", "blocked")
        ),
        Behaviour("footer_edited", 0.10, 0.0),
        Behaviour("preview_opened", 0.40, 0.0),
    ),
)

# An API for developers: what runs in production decides, and a second pair of hands.
API = Product(
    name="Relayline",
    base_log_rate=-11.1,
    trial_days=None,
    timing=NO_END,
    team="developer_joined",
    team_size=1,
    team_jump=0.8,
    pair=("live_call_made", "webhook_configured"),
    size=0.1,
    business=0.4,
    cancelled="account_closed",
    converted="billing_activated",
    expanded="spending_limit_raised",
    behaviours=(
        Behaviour("dashboard_opened", 0.80, 0.0),
        Behaviour("api_key_created", 0.15, 0.25, cap=3, key="mode", values=("test", "test", "live")),
        Behaviour(
            "test_call_made", 2.50, 0.15, cap=20, key="endpoint", values=("/charges", "/charges", "/refunds", "/events")
        ),
        Behaviour(
            "live_call_made", 1.20, 0.55, cap=40, key="endpoint", values=("/charges", "/charges", "/refunds", "/events")
        ),
        Behaviour("webhook_configured", 0.08, 0.55, cap=3),
        Behaviour("sdk_installed", 0.10, 0.30, cap=2, key="language", values=("python", "node", "node", "go", "ruby")),
        Behaviour("developer_joined", 0.08, 0.50),
        Behaviour("usage_alert_set", 0.05, 0.35, cap=2),
        Behaviour("logs_viewed", 0.25, 0.15, cap=4),
        Behaviour("rate_limit_reached", 0.08, 0.25, fresh=0.50),
        Behaviour("pricing_viewed", 0.09, 0.15, fresh=0.50, key="plan", values=("build", "scale", "scale")),
        Behaviour("error_returned", 0.35, -0.35, cap=10, key="status", values=(400, 401, 404, 422, 500)),
        Behaviour("docs_viewed", 0.80, 0.0),
        Behaviour("quickstart_opened", 0.20, 0.0),
        Behaviour("sandbox_reset", 0.05, 0.0),
    ),
)

PRODUCTS: Mapping[str, Product] = MappingProxyType(
    {
        "corkboard": CORKBOARD,
        "messaging": MESSAGING,
        "documents": DOCUMENTS,
        "design": DESIGN,
        "email": EMAIL,
        "api": API,
    }
)


def product_named(name: str) -> Product:
    """Return the product of this name; raises InvalidInput for one that is not there."""
    if name not in PRODUCTS:
        raise InvalidInput(
            f"product must be one of {listing(PRODUCTS)}, got {name!r}.{suggestion(name, PRODUCTS)}", field="product"
        )
    return PRODUCTS[name]
