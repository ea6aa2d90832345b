//! Records of what components asked for.

use std::net::IpAddr;

use policy::audit::{Decision, Kind, Record, shorten};
use policy::{Action, Allowed, Caller, Denied, Reason, Snapshot};

use super::trail::{Who, is_only_counted};
use super::{Class, Trail};
use crate::governance::Governance;

/// Who asked: a request, or a component outside any.
pub(crate) struct Asked<'a> {
    /// The component.
    pub(crate) governance: &'a Governance,
    /// The request's id; `-` outside any.
    pub(crate) request: &'a str,
    /// Where the request came from.
    pub(crate) client: Option<IpAddr>,
    /// What the request has told until now; none outside any.
    pub(crate) trail: Option<&'a Trail>,
}

impl Asked<'_> {
    /// Records a denial.
    pub(crate) fn denied(&self, denied: &Denied<'_>, reason: &'static str) {
        if !self.may_tell(Class::Deny, &denied.action) {
            return;
        }
        let rule = match denied.reason {
            Reason::Forbidden(id) => denied.policy.all_rules().rule(id),
            _ => None,
        };
        let rule = rule.map_or_else(|| reason.to_owned(), |rule| format!("{}:{} {}", rule.file, rule.line, rule.id));
        let decision = if denied.is_enforced { Decision::Deny } else { Decision::WouldDeny };
        let record = Record {
            decision: Some(decision),
            reason: Some(shorten(&denied.explain())),
            rule: Some(shorten(&rule)),
            ..self.record(denied.policy, denied.caller, &denied.action)
        };
        self.tell(Class::Deny, record);
    }

    /// Records the use of a right, or counts it.
    pub(crate) fn allowed(&self, allowed: &Allowed<'_>) {
        if is_only_counted(&allowed.action) {
            return self.trail.into_iter().for_each(|trail| trail.count(&allowed.action));
        }
        if !self.may_tell(Class::Use, &allowed.action) {
            return;
        }
        let record = self.record(allowed.policy, allowed.caller, &allowed.action);
        self.tell(Class::Use, Record { decision: Some(Decision::Allow), ..record });
    }

    fn may_tell(&self, class: Class, action: &Action<'_>) -> bool {
        let has_room = || match self.trail {
            // What is denied costs no quota, so that nothing else bounds it.
            Some(trail) if class == Class::Deny => trail.has_room_for_one(),
            Some(trail) => trail.has_room(action),
            None => self.governance.may_record(),
        };
        self.governance.audit().takes(class) && has_room()
    }

    fn record(&self, policy: &Snapshot, caller: &Caller, action: &Action<'_>) -> Record {
        let name = action.name();
        let text = action.to_string();
        let target = text.strip_prefix(name).unwrap_or(&text).trim_start();
        let find_out = || Who {
            request: self.trail.map(|_| self.request.into()),
            client: self.client.map(|client| client.to_string().into()),
            tenant: caller.tenant().as_str().into(),
            caller: caller.id().into(),
        };
        let Who { request, client, tenant, caller } = match self.trail {
            Some(trail) => trail.who(find_out).clone(),
            None => find_out(),
        };
        Record {
            request,
            client,
            tenant: Some(tenant),
            caller: Some(caller),
            policy: Some(policy.hash().clone()),
            action: Some(name.into()),
            target: (!target.is_empty()).then(|| target.into()),
            ..self.governance.record(Kind::Decision)
        }
    }

    fn tell(&self, class: Class, record: Record) {
        let audit = self.governance.audit();
        match self.trail {
            Some(trail) => trail.tell(audit, class, record),
            None => drop(audit.tell(class, record)), // outside requests nothing waits; what is lost is counted
        }
    }
}
