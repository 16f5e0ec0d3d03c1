//! How a session's unqualified names are read: what its startup, its role and the server say, and what its statements change.

use std::sync::Arc;

use weir_sql::{
    RelationUse,
    catalog::{Catalog, Naming},
    postgres::{Step, Tracker, identifiers},
};
use weir_wire::postgres::StartupMessage;

use crate::guard::{Guard, KnownNaming, Moves};

/// One session's search path and temporary relations. Nothing is followed before a decision needs it.
#[derive(Debug)]
pub(super) struct Names {
    known: Arc<KnownNaming>,
    user: String,
    asked: Asked,
    /// As the server reports it, from version 18 on.
    reported: Option<Vec<String>>,
    tracker: Option<Tracker>,
    /// Something was sent that may be taken back, or lasts until its transaction ends.
    open: bool,
    /// What was sent so far that changes how names are read, whether or not that is followed.
    moved: Moves,
    /// How often.
    times: u64,
}

impl Names {
    pub(super) fn new(guard: &Guard, user: String, asked: Asked) -> Self {
        Self {
            known: guard.naming(Naming::default()),
            user,
            asked,
            reported: None,
            tracker: None,
            open: false,
            moved: Moves::default(),
            times: 0,
        }
    }

    /// How names are read now.
    pub(super) fn known(&self) -> &Arc<KnownNaming> {
        &self.known
    }

    /// Begins to follow, from the session's first statement on or, `late`, after some that nobody looked into.
    pub(super) fn begin(&mut self, guard: &Guard, catalog: Option<&Catalog>, late: bool) {
        if self.tracker.is_some() {
            return;
        }
        let default = if late {
            None
        } else {
            self.reported.clone().or_else(|| self.default(catalog))
        };
        let mut tracker = Tracker::new(self.user.clone(), default);
        if late {
            tracker.begun_late();
        }
        if self.asked.role {
            tracker.in_unknown_role();
        }
        if let Some(path) = &self.reported {
            tracker.reported(path.clone());
        }
        self.tracker = Some(tracker);
        self.update(guard);
    }

    /// The server says what the path is.
    pub(super) fn reported(&mut self, guard: &Guard, path: &[u8]) {
        let path = std::str::from_utf8(path).ok().and_then(identifiers);
        if let (Some(tracker), Some(path)) = (&mut self.tracker, &path) {
            tracker.reported(path.clone());
            self.update(guard);
        }
        self.reported = path;
    }

    /// A statement goes to the server that does this.
    pub(super) fn sent(&mut self, guard: &Guard, steps: &[Step]) {
        if let Some(tracker) = self.tracker.as_mut().filter(|_| !steps.is_empty()) {
            tracker.sent(steps);
            self.open = true;
            self.update(guard);
        }
    }

    /// A statement failed, or was never run: what was sent with it may be taken back.
    pub(super) fn failed(&mut self, guard: &Guard) {
        if let Some(tracker) = self.tracker.as_mut().filter(|_| self.open) {
            tracker.failed();
            self.update(guard);
        }
    }

    /// Everything sent so far is answered.
    pub(super) fn settled(&mut self, guard: &Guard, transaction: u8) {
        if let Some(tracker) = self.tracker.as_mut().filter(|_| self.open) {
            tracker.status(transaction);
            // What the server says holds, whatever was done that no text shows.
            if let Some(path) = &self.reported {
                tracker.reported(path.clone());
            }
            self.open = transaction != b'I';
            self.update(guard);
        }
    }

    /// A statement goes to the server that changes this.
    #[inline]
    pub(super) fn moved(&mut self, moves: Moves) {
        if moves.any() {
            self.moved.names |= moves.names;
            self.moved.role |= moves.role;
            self.times += 1;
        }
    }

    /// How often something was sent that changes how names are read, or as whom.
    pub(super) fn times(&self) -> u64 {
        self.times
    }

    /// What tells how the names of these relations are read, so that another session in which it is the same means the same
    /// relations; `None` where it cannot be told. `followed` says that the session's statements are read for that.
    pub(super) fn meaning(&self, relations: &[RelationUse], followed: bool) -> Option<Vec<String>> {
        if self.moved.role || self.asked.role {
            return None;
        }
        let bare = |it: &&RelationUse| it.relation.schema.is_none();
        if followed {
            let naming = &self.known.naming;
            let shadowed = |it: &RelationUse| naming.temporary.contains(&it.relation.name);
            let certain = naming.certain && !naming.veiled;
            return (certain && !relations.iter().filter(bare).any(shadowed))
                .then(|| naming.search_path.clone());
        }
        if self.moved.names {
            return None;
        }
        match &self.asked.path {
            // What the server has for this user, which is part of what is compared.
            Path::Unset => Some(Vec::new()),
            Path::Is(path) => Some(vec![path.clone()]),
            Path::Unreadable => None,
        }
    }

    fn default(&self, catalog: Option<&Catalog>) -> Option<Vec<String>> {
        match &self.asked.path {
            Path::Is(path) => identifiers(path),
            Path::Unreadable => None,
            Path::Unset => {
                let set = &catalog?.search_paths;
                let path = set.get(&self.user).or_else(|| set.get(""));
                identifiers(path.map_or(BUILT_IN, String::as_str))
            }
        }
    }

    fn update(&mut self, guard: &Guard) {
        if let Some(tracker) = &self.tracker {
            let naming = tracker.naming();
            if naming != self.known.naming {
                self.known = guard.naming(naming);
            }
        }
    }
}

/// What the startup packet says about how names are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    path: Path,
    /// It asks for another role.
    role: bool,
}

/// A search path in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Path {
    /// None: it is what the server has for the role.
    Unset,
    /// This.
    Is(String),
    /// Something that is not read here.
    Unreadable,
}

impl Asked {
    /// Reads the packet.
    pub(crate) fn of(message: &StartupMessage) -> Self {
        let path = if message.options_mention("search_path") {
            Path::Unreadable
        } else {
            match message.setting("search_path").map(std::str::from_utf8) {
                None => Path::Unset,
                Some(Ok(path)) => Path::Is(path.to_owned()),
                Some(Err(_)) => Path::Unreadable,
            }
        };
        let sets = |name| message.setting(name).is_some() || message.options_mention(name);
        Self {
            path,
            role: sets("role") || sets("session_authorization"),
        }
    }
}

/// The server's own default. One that its configuration file sets instead is not known here: names that could mean something
/// governed go out qualified, so that a wrong guess shows as an error and hides nothing less.
const BUILT_IN: &str = "\"$user\", public";

#[cfg(test)]
mod tests {
    use weir_sql::{RelationName, Use};

    use super::*;

    /// Of a session in which nobody follows what statements do.
    fn names(path: Path, role: bool) -> Names {
        Names {
            known: KnownNaming::for_test(Naming::default()),
            user: "app".to_owned(),
            asked: Asked { path, role },
            reported: None,
            tracker: None,
            open: false,
            moved: Moves::default(),
            times: 0,
        }
    }

    #[test]
    fn what_names_mean_is_told_only_while_nothing_has_changed_it() {
        let accounts = [RelationUse {
            relation: RelationName {
                schema: None,
                name: "accounts".to_owned(),
            },
            usage: Use::Write,
        }];
        let mut plain = names(Path::Unset, false);
        let unset = plain.meaning(&accounts, false);
        assert_eq!(unset, Some(Vec::new()));
        let told = names(Path::Is("app".to_owned()), false).meaning(&accounts, false);
        assert!(told.is_some() && told != unset);
        assert_eq!(names(Path::Unset, true).meaning(&accounts, false), None);
        assert_eq!(
            names(Path::Unreadable, false).meaning(&accounts, false),
            None
        );
        plain.moved(Moves::default());
        assert_eq!((plain.times(), plain.meaning(&accounts, false)), (0, unset));
        plain.moved(Moves {
            names: true,
            role: false,
        });
        assert_eq!((plain.times(), plain.meaning(&accounts, false)), (1, None));
    }

    #[test]
    fn a_temporary_relation_of_the_same_name_makes_it_another() {
        let of = |name: &str, schema: Option<&str>| RelationUse {
            relation: RelationName {
                schema: schema.map(str::to_owned),
                name: name.to_owned(),
            },
            usage: Use::Write,
        };
        let mut followed = names(Path::Unset, false);
        let mut naming = Naming {
            search_path: vec!["public".to_owned()],
            certain: true,
            temporary: ["accounts".to_owned()].into(),
            veiled: false,
        };
        let set = |followed: &mut Names, naming: &Naming| {
            followed.known = KnownNaming::for_test(naming.clone());
        };
        set(&mut followed, &naming);
        assert_eq!(followed.meaning(&[of("accounts", None)], true), None);
        let path = Some(vec!["public".to_owned()]);
        assert_eq!(followed.meaning(&[of("orders", None)], true), path);
        assert_eq!(
            followed.meaning(&[of("accounts", Some("public"))], true),
            path
        );
        naming.certain = false;
        set(&mut followed, &naming);
        assert_eq!(followed.meaning(&[of("orders", None)], true), None);
    }
}
