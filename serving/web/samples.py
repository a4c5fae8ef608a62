"""Requests that work and their true answers, as texts: what the documents of the wire show.

They are those of examples/ and of the README; a test holds them together, since a built service has no such files.
"""

from __future__ import annotations

from typing import Final

SCORE: Final = """\
{
  "as_of": "2026-01-09T09:00:00Z",
  "leads": [
    {
      "user_id": "u-4711",
      "account_id": "acme",
      "started_at": "2026-01-02T08:15:00Z",
      "traits": {"company_size": 120, "source": "referral", "email": "dana@acme-industries.example"},
      "events": [
        {"event": "session_started", "timestamp": "2026-01-02T08:16:00Z"},
        {"event": "project_created", "timestamp": "2026-01-02T08:20:00Z"},
        {"event": "invite_sent", "timestamp": "2026-01-02T08:31:00Z", "properties": {"role": "member"}},
        {"event": "invite_sent", "timestamp": "2026-01-02T08:32:00Z", "properties": {"role": "admin"}},
        {"event": "invite_accepted", "timestamp": "2026-01-05T09:05:00Z"},
        {"event": "invite_accepted", "timestamp": "2026-01-05T10:40:00Z"},
        {"event": "task_completed", "timestamp": "2026-01-05T11:00:00Z"},
        {"event": "task_completed", "timestamp": "2026-01-06T15:10:00Z"},
        {"event": "task_completed", "timestamp": "2026-01-08T09:45:00Z"},
        {"event": "integration_connected", "timestamp": "2026-01-06T14:00:00Z"},
        {"event": "limit_reached", "timestamp": "2026-01-07T16:20:00Z", "properties": {"limit": "members"}},
        {"event": "pricing_viewed", "timestamp": "2026-01-07T16:25:00Z", "properties": {"plan": "business"}},
        {"event": "pricing_viewed", "timestamp": "2026-01-08T09:50:00Z", "properties": {"plan": "team"}},
        {"event": "session_started", "timestamp": "2026-01-07T10:00:00Z", "user_id": "u-4712"},
        {"event": "task_completed", "timestamp": "2026-01-07T10:30:00Z", "user_id": "u-4712"}
      ]
    }
  ]
}
"""
"""A body of `POST /score`; examples/lead.json."""

SCORED: Final = """\
{
  "model_version": "9ec195c09986",
  "cutoff": 0.1765536396669501,
  "results": [
    {
      "lead_id": "u-4711",
      "account_id": "acme",
      "trial_day": 7.031,
      "probability": 0.36005178624201284,
      "is_pql": true,
      "track": "now",
      "within": {
        "7d": 0.16462861337749632,
        "14d": 0.24856423616457796,
        "30d": 0.36005178624201284,
        "90d": 0.3820682132883172
      },
      "percentile": 91.4,
      "reasons": [
        {
          "signal": "pricing_views",
          "kind": "upgrade_intent",
          "text": "opened the pricing page twice in the last 7 days, more than 90% of trials at day 7",
          "facts": {
            "window": "in the last 7 days",
            "count": 2,
            "days_since_last": 0.9652777777777778,
            "more_than_percent": 90,
            "day": 7
          },
          "contribution": 0.7916189642961043,
          "mention": null
        },
        {
          "signal": "limits_hit",
          "kind": "limit",
          "text": "reached a plan limit once in the last 7 days, more than 76% of trials at day 7",
          "facts": {
            "window": "in the last 7 days",
            "count": 1,
            "days_since_last": 1.6944444444444444,
            "distinct_limit": 1,
            "more_than_percent": 76,
            "day": 7
          },
          "contribution": 0.6857744411593555,
          "mention": "you have come up against a limit of your plan"
        },
        {
          "signal": "teammates_joined",
          "kind": "team_growth",
          "text": "2 teammates joined in the last 7 days, more than 88% of trials at day 7",
          "facts": {
            "window": "in the last 7 days",
            "count": 2,
            "days_since_last": 3.9305555555555554,
            "more_than_percent": 88,
            "day": 7
          },
          "contribution": 0.42166769105092705,
          "mention": "your team is growing"
        }
      ],
      "against": [],
      "missing": [],
      "playbook": {
        "id": "pricing_visitor",
        "title": "Answer the pricing question",
        "message": "Happy to help you find the plan that fits. What would you like Corkboard to do for your team?"
      },
      "receipt_id": "0b907859457cf44114e7",
      "as_of": "2026-01-09T09:00:00Z"
    }
  ]
}
"""
"""What the demo product's version answers to it; the README shows it too."""

FEATURES: Final = """\
{
  "as_of": "2026-01-09T09:00:00Z",
  "leads": [
    {
      "lead_id": "u-4711",
      "account_id": "acme",
      "ends_at": "2026-01-16T08:15:00Z",
      "traits": {"company_size": 120, "source": "referral", "email": "dana@acme-industries.example"},
      "features": {
        "trial_age_days": 7.03125,
        "teammates_joined_count_1d": 0,
        "teammates_joined_count_7d": 2,
        "teammates_joined_count_trial": 2,
        "teammates_joined_days_since_last": 3.9305555555555554,
        "invites_sent_count_1d": 0,
        "invites_sent_count_7d": 0,
        "invites_sent_count_trial": 2,
        "invites_sent_days_since_last": 7.019444444444445,
        "integrations_count_1d": 0,
        "integrations_count_7d": 1,
        "integrations_count_trial": 1,
        "integrations_days_since_last": 2.7916666666666665,
        "limits_hit_count_1d": 0,
        "limits_hit_count_7d": 1,
        "limits_hit_count_trial": 1,
        "limits_hit_days_since_last": 1.6944444444444444,
        "limits_hit_distinct_limit_1d": 0,
        "limits_hit_distinct_limit_7d": 1,
        "limits_hit_distinct_limit_trial": 1,
        "pricing_views_count_1d": 1,
        "pricing_views_count_7d": 2,
        "pricing_views_count_trial": 2,
        "pricing_views_days_since_last": 0.9652777777777778,
        "business_plan_views_count_trial": 1,
        "tasks_completed_count_1d": 1,
        "tasks_completed_count_7d": 3,
        "tasks_completed_count_trial": 3,
        "tasks_completed_active_days_1d": 1,
        "tasks_completed_active_days_7d": 3,
        "tasks_completed_active_days_trial": 3,
        "tasks_completed_days_since_last": 0.96875,
        "boards_created_count_1d": 0,
        "boards_created_count_7d": 0,
        "boards_created_count_trial": 1,
        "boards_created_days_since_last": 7.027777777777778,
        "reports_viewed_count_1d": 0,
        "reports_viewed_count_7d": 0,
        "reports_viewed_count_trial": 0,
        "reports_viewed_days_since_last": null,
        "exports_count_1d": 0,
        "exports_count_7d": 0,
        "exports_count_trial": 0,
        "exports_days_since_last": null,
        "uploads_count_1d": 0,
        "uploads_count_7d": 0,
        "uploads_count_trial": 0,
        "uploads_sum_megabytes_1d": 0,
        "uploads_sum_megabytes_7d": 0,
        "uploads_sum_megabytes_trial": 0,
        "uploads_days_since_last": null,
        "api_calls_count_1d": 0,
        "api_calls_count_7d": 0,
        "api_calls_count_trial": 0,
        "api_calls_active_days_1d": 0,
        "api_calls_active_days_7d": 0,
        "api_calls_active_days_trial": 0,
        "api_calls_days_since_last": null,
        "activity_count_1d": 1,
        "activity_count_7d": 3,
        "activity_count_trial": 5,
        "activity_active_days_1d": 1,
        "activity_active_days_7d": 3,
        "activity_active_days_trial": 4,
        "activity_days_since_last": 0.96875,
        "activity_trend_1d": 1,
        "activity_trend_7d": 0.2,
        "support_tickets_count_1d": 0,
        "support_tickets_count_7d": 0,
        "support_tickets_count_trial": 0,
        "support_tickets_days_since_last": null,
        "team_activity_count_7d": 5,
        "team_activity_distinct_user_7d": 2,
        "team_upgrades_count_60d": 0,
        "company_size": 120,
        "source=organic": 0,
        "source=ads": 0,
        "source=referral": 1,
        "source=partner": 0,
        "email_is_business": 1
      }
    }
  ]
}
"""
"""The same lead as ready values, a body of `POST /score_features`; examples/features.json."""

EVENTS: Final = """\
user_id,account_id,event,timestamp,properties
u-4711,acme,session_started,2026-01-02T08:16:00Z,
u-4711,acme,project_created,2026-01-02T08:20:00Z,
u-4711,acme,invite_sent,2026-01-02T08:31:00Z,"{\"\"role\"\": \"\"member\"\"}"
u-4711,acme,invite_sent,2026-01-02T08:32:00Z,"{\"\"role\"\": \"\"admin\"\"}"
u-4711,acme,invite_accepted,2026-01-05T09:05:00Z,
u-4711,acme,invite_accepted,2026-01-05T10:40:00Z,
u-4711,acme,task_completed,2026-01-05T11:00:00Z,
u-4711,acme,task_completed,2026-01-06T15:10:00Z,
u-4711,acme,task_completed,2026-01-08T09:45:00Z,
u-4711,acme,integration_connected,2026-01-06T14:00:00Z,
u-4711,acme,limit_reached,2026-01-07T16:20:00Z,"{\"\"limit\"\": \"\"members\"\"}"
u-4711,acme,pricing_viewed,2026-01-07T16:25:00Z,"{\"\"plan\"\": \"\"business\"\"}"
u-4711,acme,pricing_viewed,2026-01-08T09:50:00Z,"{\"\"plan\"\": \"\"team\"\"}"
u-4712,acme,session_started,2026-01-07T10:00:00Z,
u-4712,acme,task_completed,2026-01-07T10:30:00Z,
"""
"""The events of the same account as a file for `POST /score_batch`; examples/events.csv."""
