"""One question, one decision: the only place where Cedar evaluates.

Fails closed. Cedar skips a policy that errors, so that a broad permit beside a forbid that cannot be evaluated would
allow: any error in the diagnostics denies here. So does anything that evaluation raises, whatever it is.
"""

from __future__ import annotations

import enum
import functools
import json
import logging
import re
from typing import NamedTuple

import cedarpy
from cedarpy import Entities

from gateway.policy.loader import Policies
from gateway.policy.requests import Question
from gateway.policy.translation import as_entities, as_request
from visibility.alerts import NOBODY, AlertSink
from visibility.catalogue import POLICY_FAILING

log = logging.getLogger(__name__)

NOBODYS_ID = "default-deny"  # stands where no policy decided; no policy may have it
_SUBJECTS_KEPT = 1024
_POLICY_NUMBER = re.compile(r"policy `policy(\d+)`")


class Reason(enum.StrEnum):
    """Why a decision is as it is; stable, and told to callers."""

    PERMITTED = "PERMITTED"
    FORBIDDEN = "FORBIDDEN"  # a forbid applies
    NOT_PERMITTED = "NOT_PERMITTED"  # no permit applies
    EVALUATION_FAILED = "EVALUATION_FAILED"  # a policy could not be evaluated, or the question not be asked


class Decision(NamedTuple):
    """What may be done, or not, and by which policies: never empty, `default-deny` when it was none."""

    allowed: bool
    reason: Reason
    policies: tuple[str, ...]
    errors: tuple[str, ...] = ()  # Cedar's words for what failed: for operators, never for callers
    lasting: bool = True  # False: evaluation itself broke down, and may work the next time

    @property
    def policy_id(self) -> str:
        """The first of the deciding policies: the one that is named."""
        return self.policies[0]

    def text(self, action: str) -> str:
        """Return the decision about `action` as a sentence for people."""
        names = ", ".join(self.policies)
        if self.reason is Reason.PERMITTED:
            return f"{action} is permitted by {names}"
        if self.reason is Reason.FORBIDDEN:
            return f"{action} is forbidden by the policy {names}"
        if self.reason is Reason.NOT_PERMITTED:
            return f"no policy permits {action}"
        return f"{action} is denied, since policies could not be evaluated ({names})"


class Engine:
    """Evaluates one set of policies. Its only state are parsed entities of callers, which depend on their ids alone."""

    def __init__(self, policies: Policies, home: str = "", alerts: AlertSink = NOBODY) -> None:
        """`home` is the trust domain of the node; `alerts` is told of what cannot be evaluated."""
        self._policies = policies
        self._home = home
        self._alerts = alerts
        self._ids = tuple(policy.id for policy in policies.policies)
        self._entities = functools.lru_cache(maxsize=_SUBJECTS_KEPT)(self._parse_entities)

    def decide(self, question: Question) -> Decision:
        """Return the decision. Raises nothing: what goes wrong denies."""
        try:
            return self._decide(question)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # fail closed: a panic of Cedar's is no Exception, and denies too
            log.error("policy_evaluation_failed", extra={"action": question.action, "why": type(error).__name__})
            self._alerts.raise_alert(POLICY_FAILING, why=f"{question.action}: {type(error).__name__}")
            return Decision(False, Reason.EVALUATION_FAILED, (NOBODYS_ID,), (str(error),), lasting=False)

    def _decide(self, question: Question) -> Decision:
        result = cedarpy.is_authorized(
            as_request(question),
            self._policies.handle,
            self._entities(question.spiffe_id, question.tenant),
            self._policies.schema,
        )
        errors = tuple(result.diagnostics.errors)
        if errors or result.decision is cedarpy.Decision.NoDecision:
            failed = tuple(self._ids[int(number)] for text in errors for number in _POLICY_NUMBER.findall(text))
            log.error("policy_in_error", extra={"action": question.action, "policies": failed, "why": errors[:3]})
            self._alerts.raise_alert(POLICY_FAILING, why=f"{question.action}: {', '.join(failed[:3])}")
            return Decision(False, Reason.EVALUATION_FAILED, failed or (NOBODYS_ID,), errors or ("no decision",))
        numbers = sorted(int(name.removeprefix("policy")) for name in result.diagnostics.reasons)
        deciding = tuple(self._ids[number] for number in numbers)
        if result.decision is cedarpy.Decision.Allow and deciding:
            return Decision(True, Reason.PERMITTED, deciding)
        return Decision(False, Reason.FORBIDDEN if deciding else Reason.NOT_PERMITTED, deciding or (NOBODYS_ID,))

    def _parse_entities(self, spiffe_id: str, tenant: str) -> Entities:
        return Entities.from_json_str(json.dumps(as_entities(spiffe_id, tenant, self._home)), self._policies.schema)
