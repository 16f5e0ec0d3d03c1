//! One question as rules look at it: one actor, one process, one target, and what is known of the text.

use weir_sql::{Confidence, Facts, Kind, Use};

use crate::{
    groups::{GroupBits, GroupNames},
    principal::{Identity, PrincipalKind, Process, Target},
    schema::Action,
};

/// What rules are evaluated against.
pub(crate) struct View<'a> {
    pub(crate) actor: ActorView<'a>,
    pub(crate) process: &'a Process,
    pub(crate) target: &'a Target,
    /// `None` while no statement is known yet.
    pub(crate) reading: Option<&'a Reading<'a>>,
}

/// One of those who act: the person or service itself, or an agent on its behalf.
#[derive(Clone)]
pub(crate) struct ActorView<'a> {
    /// One of [`HUMAN`], [`WORKLOAD`], [`AGENT`], [`UNIDENTIFIED`].
    pub(crate) kind: u8,
    pub(crate) subject: Option<&'a str>,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) purpose: Option<&'a str>,
    /// The principal's groups, also for an agent: it can have no more, and its own limits are written on its kind.
    pub(crate) groups: GroupBits,
    pub(crate) groups_complete: bool,
    /// As the provider states them, for people to read.
    pub(crate) group_names: &'a [String],
}

/// Facts with what rules ask most often worked out once.
pub(crate) struct Reading<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) kinds: u32,
    pub(crate) actions: u8,
}

pub(crate) const HUMAN: u8 = 1;
pub(crate) const WORKLOAD: u8 = 2;
pub(crate) const AGENT: u8 = 4;
pub(crate) const UNIDENTIFIED: u8 = 8;

/// Everybody for whom a decision must be favourable: the principal, then each actor, outermost first.
pub(crate) fn actors<'a>(
    identity: Option<&'a Identity>,
    names: &GroupNames,
) -> impl Iterator<Item = ActorView<'a>> {
    let principal = match identity {
        None => ActorView {
            kind: UNIDENTIFIED,
            subject: None,
            issuer: None,
            purpose: None,
            groups: GroupBits::default(),
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
            purpose: identity.purpose.as_deref(),
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
            ..principal
        });
    std::iter::once(principal).chain(agents)
}

impl<'a> Reading<'a> {
    pub(crate) fn new(facts: &'a Facts) -> Self {
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
        }
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

pub(crate) fn confidence_bit(confidence: Confidence) -> u8 {
    1 << (confidence as u8)
}
