//! One question as rules look at it: one actor, one process, one target, and what is known of the text.

use std::{cell::OnceCell, collections::BTreeMap, sync::Arc, time::Duration};

use weir_sql::{ColumnName, ColumnUsage, ColumnUse, Confidence, Facts, Kind, Use};

use crate::{
    bits::{Bits, Names},
    classes::Classifier,
    conditions::{Focus, Stance},
    principal::{Delegation, Identity, PrincipalKind, Process, Strength, Target},
    schema::Action,
};

/// What rules are evaluated against.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) actor: &'a ActorView<'a>,
    pub(crate) process: &'a Process,
    pub(crate) target: &'a Target,
    /// `None` while no statement is known yet.
    pub(crate) reading: Option<&'a Reading<'a>>,
    pub(crate) focus: Focus<'a>,
    pub(crate) classifier: &'a Classifier,
    /// Since the epoch.
    pub(crate) now: Duration,
    /// Whether the provider could not be asked lately; `None` for a connection as a whole, in whose time this, and the age
    /// of the log-in, may change.
    pub(crate) stale: Option<bool>,
}

impl<'a> View<'a> {
    /// The same question, asked of other columns.
    pub(crate) fn focused<'b>(&self, focus: Focus<'b>) -> View<'b>
    where
        'a: 'b,
    {
        View { focus, ..*self }
    }
}

/// One of those who act: the person or service itself, or an agent on its behalf.
#[derive(Clone)]
pub(crate) struct ActorView<'a> {
    /// One of [`HUMAN`], [`WORKLOAD`], [`AGENT`], [`UNIDENTIFIED`].
    pub(crate) kind: u8,
    pub(crate) subject: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) client: Option<&'a str>,
    pub(crate) run: Option<&'a str>,
    pub(crate) purpose: Option<&'a str>,
    pub(crate) strength: Option<Strength>,
    pub(crate) method: Option<&'a str>,
    pub(crate) delegation: Option<Delegation>,
    /// The principal's, also for an agent, as all that follows.
    pub(crate) acr: Option<&'a str>,
    pub(crate) means: &'a [String],
    pub(crate) auth_time: Option<i64>,
    /// The principal's, also for an agent.
    pub(crate) claims: Option<&'a BTreeMap<String, String>>,
    /// The principal's groups, also for an agent: it can have no more, and its own limits are written on its kind.
    pub(crate) groups: Bits,
    pub(crate) groups_complete: bool,
    /// As the provider states them, for people to read.
    pub(crate) group_names: &'a [String],
}

/// Facts with what rules ask most often worked out once.
pub(crate) struct Reading<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) kinds: u32,
    actions: u8,
    classifier: &'a Classifier,
    /// Beside the columns used: the classes of each.
    touched: OnceCell<Vec<Arc<Bits>>>,
    /// The classes that the relations read have as a whole, whether or not a column of them is used.
    whole: OnceCell<Vec<Arc<Bits>>>,
    /// Beside the columns within reach: the classes of each.
    reachable: OnceCell<Vec<Arc<Bits>>>,
    /// Beside the columns within reach: whether each is used.
    used: OnceCell<Vec<bool>>,
}

pub(crate) const HUMAN: u8 = 1;
pub(crate) const WORKLOAD: u8 = 2;
pub(crate) const AGENT: u8 = 4;
pub(crate) const UNIDENTIFIED: u8 = 8;

/// Everybody for whom a decision must be favourable: the principal, then each actor, outermost first.
pub(crate) fn actors<'a>(
    identity: Option<&'a Identity>,
    names: &Names,
) -> impl Iterator<Item = ActorView<'a>> {
    let principal = match identity {
        None => ActorView {
            kind: UNIDENTIFIED,
            subject: None,
            issuer: None,
            client: None,
            run: None,
            purpose: None,
            strength: None,
            method: None,
            delegation: None,
            acr: None,
            means: &[],
            auth_time: None,
            claims: None,
            groups: Bits::default(),
            groups_complete: true,
            group_names: &[],
        },
        Some(identity) => ActorView {
            kind: match identity.principal.kind {
                PrincipalKind::Human => HUMAN,
                PrincipalKind::Workload => WORKLOAD,
                PrincipalKind::Agent => AGENT,
            },
            subject: Some(&identity.principal.subject),
            issuer: Some(&identity.principal.issuer),
            client: None,
            run: None,
            purpose: identity.purpose.as_deref(),
            strength: Some(identity.strength),
            method: Some(&identity.method),
            delegation: identity.delegation,
            acr: identity.principal.acr.as_deref(),
            means: &identity.principal.amr,
            auth_time: identity.principal.auth_time,
            claims: Some(&identity.principal.claims),
            groups: names.bits(&identity.principal.groups),
            groups_complete: identity.principal.groups_complete,
            group_names: &identity.principal.groups,
        },
    };
    let delegates = identity.map_or(&[][..], |identity| &identity.actors);
    let template = (!delegates.is_empty()).then(|| principal.clone());
    let agents = delegates
        .iter()
        .zip(template.into_iter().cycle())
        .map(|(actor, principal)| ActorView {
            kind: AGENT,
            subject: Some(&actor.subject),
            issuer: Some(&actor.issuer),
            client: actor.client_id.as_deref(),
            run: actor.run_id.as_deref(),
            ..principal
        });
    std::iter::once(principal).chain(agents)
}

impl<'a> Reading<'a> {
    pub(crate) fn new(facts: &'a Facts, classifier: &'a Classifier) -> Self {
        let mut kinds = 0;
        let mut actions = 0;
        for &kind in &facts.kinds {
            kinds |= kind_bits(kind);
            actions |= kind_actions(kind);
        }
        for relation in &facts.relations {
            actions |= action_bit(match relation.usage {
                Use::Read => Action::Read,
                Use::Write => Action::Write,
                Use::Define => Action::Define,
            });
        }
        Self {
            facts,
            kinds,
            actions,
            classifier,
            touched: OnceCell::new(),
            whole: OnceCell::new(),
            reachable: OnceCell::new(),
            used: OnceCell::new(),
        }
    }

    /// A text that uses a column's value reads it, also where it says `UPDATE`; a grant to write covers that.
    pub(crate) fn actions_for(&self, stance: Stance) -> u8 {
        let reads = stance == Stance::Restrict
            && (!self.facts.reachable.is_empty()
                || self
                    .facts
                    .columns
                    .iter()
                    .any(|used| used.usage != ColumnUsage::Write));
        if reads {
            self.actions | action_bit(Action::Read)
        } else {
            self.actions
        }
    }

    /// Whether it changes or removes rows that are there.
    pub(crate) fn changes_rows(&self) -> bool {
        let changing = [Kind::Update, Kind::Delete, Kind::Merge, Kind::Truncate];
        changing
            .into_iter()
            .any(|kind| self.kinds & kind_bits(kind) != 0)
    }

    /// Whether the statement uses a column within reach for anything.
    pub(crate) fn uses(&self, at: usize) -> bool {
        let used = self.used.get_or_init(|| {
            let columns = &self.facts.columns;
            self.facts
                .reachable
                .iter()
                .map(|reachable| {
                    let at = columns.partition_point(|used| used.column < reachable.column);
                    columns
                        .get(at)
                        .is_some_and(|used| used.column == reachable.column)
                })
                .collect()
        });
        used.get(at).copied().unwrap_or(true)
    }

    /// Whether the columns are known: without a catalog no name of a relation says what is in it.
    pub(crate) fn resolved(&self) -> bool {
        self.facts.resolved || self.facts.relations.is_empty()
    }

    /// The columns that are used for any of these.
    pub(crate) fn used(&self, usages: u8) -> impl Iterator<Item = &'a ColumnUse> {
        self.facts
            .columns
            .iter()
            .filter(move |used| usages & usage_bit(used.usage) != 0)
    }

    /// The classes of what is used for any of these, column by column.
    pub(crate) fn touched(&self, usages: u8) -> impl Iterator<Item = &Bits> {
        let columns = self
            .facts
            .columns
            .iter()
            .zip(self.touched_classes())
            .filter(move |(used, _)| usages & usage_bit(used.usage) != 0)
            .map(|(_, classes)| classes.as_ref());
        let whole = if usages & READ_USAGES == 0 {
            &[][..]
        } else {
            self.whole_classes()
        };
        columns.chain(whole.iter().map(AsRef::as_ref))
    }

    /// The classes that are read, by relation; a view's by the relations it is made of.
    pub(crate) fn touched_by_relation(&self) -> Vec<Bits> {
        let mut relations: BTreeMap<(&str, &str), Bits> = BTreeMap::new();
        let mut add = |column: &'a ColumnName, classes: &Bits| {
            relations
                .entry((&column.schema, &column.relation))
                .or_default()
                .add(classes);
        };
        for (used, classes) in self.facts.columns.iter().zip(self.touched_classes()) {
            if used.usage == ColumnUsage::Write {
                continue;
            }
            if used.bases.is_empty() {
                add(&used.column, classes);
                continue;
            }
            let own = self.classifier.column(&used.column);
            for base in &used.bases {
                add(base, &own);
                add(base, &self.classifier.column(base));
            }
        }
        if self.classifier.classes_relations() {
            for reachable in &self.facts.reachable {
                for column in std::iter::once(&reachable.column).chain(&reachable.bases) {
                    let classes = self.classifier.relation(&column.schema, &column.relation);
                    add(column, &classes);
                }
            }
        }
        relations.into_values().collect()
    }

    /// The classes of each column within reach, beside `facts.reachable`.
    pub(crate) fn reachable_classes(&self) -> &[Arc<Bits>] {
        self.reachable.get_or_init(|| {
            let reachable = self.facts.reachable.iter();
            self.classifier.all_with_bases(
                reachable.map(|reachable| (&reachable.column, reachable.bases.as_slice())),
            )
        })
    }

    /// The schemas that hold what the text calls so without naming one.
    pub(crate) fn schemas_of(&self, relation: &str) -> impl Iterator<Item = &'a str> {
        let read = self
            .facts
            .reachable
            .iter()
            .map(|reachable| &reachable.column);
        let used = self.facts.columns.iter().map(|used| &used.column);
        read.chain(used)
            .filter(move |column| column.relation == relation)
            .map(|column| column.schema.as_str())
    }

    fn touched_classes(&self) -> &[Arc<Bits>] {
        self.touched.get_or_init(|| {
            let columns = self.facts.columns.iter();
            self.classifier
                .all_with_bases(columns.map(|used| (&used.column, used.bases.as_slice())))
        })
    }

    fn whole_classes(&self) -> &[Arc<Bits>] {
        self.whole.get_or_init(|| {
            if !self.classifier.classes_relations() {
                return Vec::new();
            }
            let mut relations: Vec<_> = self
                .facts
                .reachable
                .iter()
                .flat_map(|reachable| std::iter::once(&reachable.column).chain(&reachable.bases))
                .map(|column| (column.schema.as_str(), column.relation.as_str()))
                .collect();
            relations.sort_unstable();
            relations.dedup();
            relations
                .into_iter()
                .map(|(schema, relation)| self.classifier.relation(schema, relation))
                .filter(|classes| !classes.is_empty())
                .collect()
        })
    }

    /// Whether the text was understood at all; when not, only its confidence is known.
    pub(crate) fn parsed(&self) -> bool {
        self.facts.confidence != Confidence::Unparsed
    }
}

/// A kind's bit; the kinds that stand for several have several. What is not understood could be any.
pub(crate) fn kind_bits(kind: Kind) -> u32 {
    let bit = |kind: Kind| 1_u32 << (kind as u32);
    match kind {
        Kind::Ddl => bit(Kind::Create) | bit(Kind::Alter) | bit(Kind::Drop) | bit(Kind::Truncate),
        Kind::Unknown => u32::MAX,
        kind => bit(kind),
    }
}

pub(crate) fn kind_actions(kind: Kind) -> u8 {
    match kind {
        Kind::Select | Kind::VectorSearch | Kind::CopyOut | Kind::Replication => {
            action_bit(Action::Read)
        }
        Kind::Insert
        | Kind::Update
        | Kind::Delete
        | Kind::Merge
        | Kind::CopyIn
        | Kind::EmbeddingWrite => action_bit(Action::Write),
        Kind::Create | Kind::Alter | Kind::Drop | Kind::Grant | Kind::Ddl => {
            action_bit(Action::Define)
        }
        Kind::Truncate => action_bit(Action::Define) | action_bit(Action::Write),
        Kind::Call | Kind::Do | Kind::FunctionCall => action_bit(Action::Execute),
        Kind::Explain | Kind::Set | Kind::Transaction | Kind::Utility => 0,
        // A kind that this table does not know could do anything.
        _ => u8::MAX,
    }
}

pub(crate) fn action_bit(action: Action) -> u8 {
    1 << (action as u8)
}

/// The actions in a mask.
pub(crate) fn actions(mask: u8) -> Vec<Action> {
    [Action::Read, Action::Write, Action::Define, Action::Execute]
        .into_iter()
        .filter(|&action| mask & action_bit(action) != 0)
        .collect()
}

pub(crate) fn usage_bit(usage: ColumnUsage) -> u8 {
    1 << (usage as u8)
}

/// What columns are used for by statements that do these.
pub(crate) fn usages_of(actions: &[Action]) -> u8 {
    let usages = actions.iter().fold(0, |usages, action| {
        usages
            | match action {
                Action::Read => READ_USAGES,
                Action::Write => usage_bit(ColumnUsage::Write),
                Action::Define | Action::Execute => ANY_USAGE,
            }
    });
    if usages == 0 { ANY_USAGE } else { usages }
}

pub(crate) const ANY_USAGE: u8 = u8::MAX;
/// All but writing.
const READ_USAGES: u8 = (1 << ColumnUsage::Output as u8)
    | (1 << ColumnUsage::Predicate as u8)
    | (1 << ColumnUsage::Join as u8);

pub(crate) fn confidence_bit(confidence: Confidence) -> u8 {
    1 << (confidence as u8)
}
