//! What may come back over a time, all connections together: counted here, set by rules.
//!
//! A window slides in sixtieths of its length, and counts its oldest part as a whole: never more than the budget passes,
//! sometimes a little less. Counts live in memory; a restarted agent begins anew.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use weir_policy::{Budget, Identity, Per, RuleId};
use weir_wire::postgres::Refusal;

/// What budgets leave; `None` is without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Left {
    /// Rows.
    pub rows: Option<u64>,
    /// Bytes.
    pub bytes: Option<u64>,
}

/// What an agent's run may use up, from its start to its end; `run` tells runs apart.
#[must_use]
pub fn of_run(run: &str, rows: Option<u64>, bytes: Option<u64>) -> Budget {
    Budget {
        rule: RuleId(format!("weir exec --budget (run {run})")),
        rows,
        bytes,
        statements: None,
        // The run is in the name already: an agent that this one starts counts as well.
        per: Per::Principal,
        window_s: WHOLE_RUN_S,
    }
}

/// Whose counts a session's statements go on.
#[derive(Debug)]
pub(super) struct Payers {
    run: Arc<str>,
    actor: Arc<str>,
    principal: Arc<str>,
}

/// All counts.
#[derive(Debug, Default)]
pub(super) struct Budgets {
    windows: Mutex<HashMap<(RuleId, Arc<str>), Window>>,
}

#[derive(Debug, Default)]
struct Window {
    part_seconds: u64,
    /// The latest last.
    parts: VecDeque<Part>,
}

#[derive(Debug, Default)]
struct Part {
    number: u64,
    used: Used,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Used {
    rows: u64,
    bytes: u64,
    statements: u64,
}

impl Payers {
    pub(super) fn of(identity: Option<&Identity>) -> Self {
        let Some(identity) = identity else {
            let nobody: Arc<str> = "nobody".into();
            return Self {
                run: Arc::clone(&nobody),
                actor: Arc::clone(&nobody),
                principal: nobody,
            };
        };
        let principal = &identity.principal;
        let principal: Arc<str> = format!("{}\n{}", principal.issuer, principal.subject).into();
        let Some(last) = identity.actors.last() else {
            return Self {
                run: Arc::clone(&principal),
                actor: Arc::clone(&principal),
                principal,
            };
        };
        // An agent counts for each of those it acts for: nobody can use up another's budget.
        let actor: Arc<str> = format!("{principal}\n{}\n{}", last.issuer, last.subject).into();
        let run = identity
            .actors
            .iter()
            .rev()
            .find_map(|actor| actor.run_id.as_ref());
        Self {
            run: run.map_or_else(
                || Arc::clone(&actor),
                |run| format!("{actor}\n{run}").into(),
            ),
            actor,
            principal,
        }
    }

    fn of_budget(&self, budget: &Budget) -> Arc<str> {
        Arc::clone(match budget.per {
            Per::Run => &self.run,
            Per::Actor => &self.actor,
            Per::Principal => &self.principal,
        })
    }
}

impl Budgets {
    /// Takes one statement off; `now` since the epoch.
    pub(super) fn take(
        &self,
        payers: &Payers,
        budgets: &[Budget],
        now: Duration,
    ) -> Result<Left, Box<Refusal>> {
        if budgets.is_empty() {
            return Ok(Left::default());
        }
        let mut windows = self.lock();
        for budget in budgets {
            let window = window(&mut windows, payers, budget);
            let used = window.used(now);
            if let Some(what) = exhausted(budget, used) {
                return Err(Box::new(refusal(budget, what, window.frees(budget, now))));
            }
        }
        for budget in budgets {
            window(&mut windows, payers, budget).part(now).statements += 1;
        }
        Ok(left(&mut windows, payers, budgets, now))
    }

    /// What is left while a statement runs.
    pub(super) fn left(&self, payers: &Payers, budgets: &[Budget], now: Duration) -> Left {
        if budgets.is_empty() {
            return Left::default();
        }
        left(&mut self.lock(), payers, budgets, now)
    }

    /// Takes off what came back.
    pub(super) fn spend(
        &self,
        payers: &Payers,
        budgets: &[Budget],
        (rows, bytes): (u64, u64),
        now: Duration,
    ) {
        if budgets.is_empty() {
            return;
        }
        let mut windows = self.lock();
        for budget in budgets {
            let part = window(&mut windows, payers, budget).part(now);
            part.rows = part.rows.saturating_add(rows);
            part.bytes = part.bytes.saturating_add(bytes);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<(RuleId, Arc<str>), Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Window {
    fn used(&mut self, now: Duration) -> Used {
        let number = now.as_secs() / self.part_seconds;
        while self
            .parts
            .front()
            .is_some_and(|part| part.number + PARTS < number)
        {
            self.parts.pop_front();
        }
        self.parts.iter().fold(Used::default(), |sum, part| Used {
            rows: sum.rows.saturating_add(part.used.rows),
            bytes: sum.bytes.saturating_add(part.used.bytes),
            statements: sum.statements.saturating_add(part.used.statements),
        })
    }

    fn part(&mut self, now: Duration) -> &mut Used {
        let number = now.as_secs() / self.part_seconds;
        // A clock that was set back adds to the latest part.
        if self.parts.back().is_none_or(|part| part.number < number) {
            self.parts.push_back(Part {
                number,
                used: Used::default(),
            });
        }
        let last = self.parts.len() - 1;
        &mut self.parts[last].used
    }

    /// When enough has gone out of the window again.
    fn frees(&self, budget: &Budget, now: Duration) -> Duration {
        let mut used = Used::default();
        // From the latest backwards: the part that is one too many has to go, and all before it.
        for part in self.parts.iter().rev() {
            used.rows = used.rows.saturating_add(part.used.rows);
            used.bytes = used.bytes.saturating_add(part.used.bytes);
            used.statements = used.statements.saturating_add(part.used.statements);
            if exhausted(budget, used).is_some() {
                return Duration::from_secs((part.number + PARTS + 1) * self.part_seconds);
            }
        }
        now
    }
}

fn window<'w>(
    windows: &'w mut HashMap<(RuleId, Arc<str>), Window>,
    payers: &Payers,
    budget: &Budget,
) -> &'w mut Window {
    if windows.len() > MAX_WINDOWS {
        let now = crate::clock::now();
        windows.retain(|_, window| window.used(now) != Used::default());
    }
    // A budget over another time than before begins anew: its parts have another length.
    let part_seconds = budget.window_s.div_ceil(PARTS).max(1);
    let key = (budget.rule.clone(), payers.of_budget(budget));
    let window = windows.entry(key).or_default();
    if window.part_seconds != part_seconds {
        *window = Window {
            part_seconds,
            parts: VecDeque::new(),
        };
    }
    window
}

fn left(
    windows: &mut HashMap<(RuleId, Arc<str>), Window>,
    payers: &Payers,
    budgets: &[Budget],
    now: Duration,
) -> Left {
    let mut left = Left::default();
    for budget in budgets {
        let used = window(windows, payers, budget).used(now);
        let rows = budget.rows.map(|rows| rows.saturating_sub(used.rows));
        let bytes = budget.bytes.map(|bytes| bytes.saturating_sub(used.bytes));
        left.rows = least(left.rows, rows);
        left.bytes = least(left.bytes, bytes);
    }
    left
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    one.into_iter().chain(other).min()
}

fn exhausted(budget: &Budget, used: Used) -> Option<&'static str> {
    let spent = |limit: Option<u64>, used: u64| limit.is_some_and(|limit| used >= limit);
    if spent(budget.statements, used.statements) {
        Some("statements")
    } else if spent(budget.rows, used.rows) {
        Some("rows")
    } else if spent(budget.bytes, used.bytes) {
        Some("bytes")
    } else {
        None
    }
}

fn refusal(budget: &Budget, what: &str, frees: Duration) -> Refusal {
    let limit = match what {
        "statements" => budget.statements,
        "rows" => budget.rows,
        _ => budget.bytes,
    };
    if budget.window_s == WHOLE_RUN_S {
        return Refusal {
            sqlstate: "54000".into(),
            message: format!(
                "weir: the budget of {} {what} of this run is used up",
                limit.unwrap_or_default()
            ),
            detail: Some(budget.rule.0.clone()),
            hint: Some("start another run, with a larger --budget if it needs one".into()),
        };
    }
    let when = i64::try_from(frees.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|when| when.format(&Rfc3339).ok());
    Refusal {
        sqlstate: "54000".into(),
        message: format!(
            "weir: the budget of {} {what} in {} s is used up",
            limit.unwrap_or_default(),
            budget.window_s
        ),
        detail: Some(format!("rule {}", budget.rule.0)),
        hint: when.map(|when| format!("some of it is free again at {when}")),
    }
}

const PARTS: u64 = 60;
/// Longer than any run.
const WHOLE_RUN_S: u64 = 60 * 24 * 3_600;
/// Runs of agents come and go: counts that have run out are forgotten beyond this.
const MAX_WINDOWS: usize = 10_000;

#[cfg(test)]
mod tests {
    use weir_policy::{Actor, Principal, PrincipalKind, Strength};

    use super::*;

    fn budget(rows: Option<u64>, statements: Option<u64>) -> Budget {
        Budget {
            rule: RuleId("limits".to_owned()),
            rows,
            bytes: None,
            statements,
            per: Per::Run,
            window_s: 3_600,
        }
    }

    fn payers(run: &str) -> Payers {
        Payers::of(Some(&Identity {
            principal: Principal {
                issuer: "i".to_owned(),
                subject: "bob".to_owned(),
                kind: PrincipalKind::Human,
                display: "Bob".to_owned(),
                groups: Vec::new(),
                groups_complete: true,
                auth_time: None,
                acr: None,
                amr: Vec::new(),
                claims: std::collections::BTreeMap::default(),
            },
            actors: vec![Actor {
                issuer: "i".to_owned(),
                subject: "bot".to_owned(),
                client_id: None,
                run_id: Some(run.to_owned()),
            }],
            method: "exec".to_owned(),
            strength: Strength::Strong,
            purpose: None,
            delegation: None,
        }))
    }

    const NOW: Duration = Duration::from_secs(1_000_000);

    #[test]
    fn what_was_spent_is_missing_until_the_window_has_passed() {
        let (budgets, payers) = (Budgets::default(), payers("1"));
        let limits = [budget(Some(100), None)];
        let left = budgets.take(&payers, &limits, NOW).expect("all of it");
        assert_eq!(left.rows, Some(100));
        budgets.spend(&payers, &limits, (60, 1), NOW);
        budgets.spend(&payers, &limits, (60, 1), NOW + Duration::from_mins(10));
        let later = NOW + Duration::from_secs(700);
        assert_eq!(budgets.left(&payers, &limits, later).rows, Some(0));
        let refused = budgets
            .take(&payers, &limits, later)
            .expect_err("none left");
        assert!(
            refused.message.contains("100 rows in 3600 s"),
            "{refused:?}"
        );
        assert_eq!(refused.detail.as_deref(), Some("rule limits"));
        let after = NOW + Duration::from_mins(62);
        let left = budgets
            .take(&payers, &limits, after)
            .expect("the first part is gone");
        assert_eq!(left.rows, Some(40));
    }

    #[test]
    fn the_hint_names_a_time_at_which_it_holds() {
        let (budgets, payers) = (Budgets::default(), payers("1"));
        let limits = [budget(None, Some(2))];
        for _ in 0..2 {
            budgets.take(&payers, &limits, NOW).expect("enough");
        }
        let key = (limits[0].rule.clone(), Arc::clone(&payers.run));
        let frees = budgets.lock()[&key].frees(&limits[0], NOW);
        assert!(
            budgets
                .take(
                    &payers,
                    &limits,
                    frees.saturating_sub(Duration::from_secs(1))
                )
                .is_err()
        );
        assert!(budgets.take(&payers, &limits, frees).is_ok());
        assert!(frees <= NOW + Duration::from_mins(61));
    }

    #[test]
    fn each_run_has_its_own_and_the_principal_pays_for_all() {
        let budgets = Budgets::default();
        let (one, other) = (payers("1"), payers("2"));
        let per_run = [budget(None, Some(1))];
        budgets.take(&one, &per_run, NOW).expect("enough");
        assert!(budgets.take(&one, &per_run, NOW).is_err());
        assert!(budgets.take(&other, &per_run, NOW).is_ok());
        let together = [Budget {
            per: Per::Principal,
            rule: RuleId("all".to_owned()),
            ..budget(None, Some(1))
        }];
        budgets.take(&one, &together, NOW).expect("enough");
        assert!(budgets.take(&other, &together, NOW).is_err());
    }
}
