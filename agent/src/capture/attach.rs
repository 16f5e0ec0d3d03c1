//! Taking the kernel's side into use, and giving it back.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use agent_ebpf::{Conduct, FlowKey, Heartbeat, LET_PASS, Listener, REFUSE, Reported};
use aya::{
    Ebpf,
    maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, SkStorage},
};

use super::{
    CaptureError, EndpointRule, Existing, ListenerPorts, Marker, Older, OnAgentDown, OnStop,
    Origins, OtherNamespaces, Settings, Unattended,
    cgroups::Cgroup,
    listeners,
    pins::{PinFolder, Provisional},
    programs::{self, BACKSTOP, Link, PROGRAMS},
    rules::{self, Table},
    writers::{Watch, Writers},
};
use crate::clock;

/// The kernel's side of a running agent.
///
/// Dropping it leaves programs and maps in the kernel, as a crash would: the heartbeat goes stale
/// and the settings' `on_agent_down` holds until the next agent takes over.
pub struct Capture {
    pub(super) folder: PinFolder,
    pub(super) links: Vec<Link>,
    /// Whether no programs of an earlier agent were there.
    is_new: bool,
    on_stop: OnStop,
    pub(super) cgroup: Cgroup,
    pub(super) existing: Existing,
    pub(super) grace: Duration,
    pub(super) other_namespaces: OtherNamespaces,
    pub(super) netns_cookie: u64,
    pub(super) rules: Mutex<Table>,
    pub(super) older: Mutex<HashMap<MapData, u64, u64>>,
    pub(super) flows: Mutex<HashMap<MapData, FlowKey, agent_ebpf::Origin>>,
    heartbeat: Mutex<Array<MapData, Heartbeat>>,
    pub(super) reported: Mutex<Array<MapData, Reported>>,
    pub(super) stats: PerCpuArray<MapData, u64>,
    origins: Origins,
    marker: Marker,
    writers: Writers,
    pub(super) watch: Watch,
    /// Maps whose values say that a socket may speak to governed endpoints itself.
    pub(super) marks: Vec<MapData>,
}

impl fmt::Debug for Capture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Capture")
            .field("folder", &self.folder)
            .field("cgroup", &self.cgroup)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

/// What an agent found in the kernel when it began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Takeover {
    /// Whether programs of an earlier agent were there.
    pub resumed: bool,
    /// The earlier agent's last sign of life, nanoseconds since the epoch.
    pub last_heartbeat_ns: Option<u64>,
    /// Connections that the kernel let through since then.
    pub passed: u64,
    /// Connections that the kernel refused since then.
    pub denied: u64,
    /// Connections that go around the agent, and what became of them.
    pub older: Vec<Older>,
}

/// Origins on their way for longer than this belong to connections that no listener will accept.
const STRANDED: Duration = Duration::from_mins(1);

impl Capture {
    /// Loads the programs, or takes over those that an earlier agent left, and attaches them.
    ///
    /// The listeners must be listening: from here on connections come. Call [`Capture::beat`] every
    /// 250 ms, the kernel takes an agent for dead after one second. This process must be below the
    /// cgroup that is captured, see [`super::enter`].
    ///
    /// # Errors
    ///
    /// A [`CaptureError`]; nothing new stays in the kernel then.
    pub fn attach(
        settings: &Settings,
        rules: &[EndpointRule],
        listener: ListenerPorts,
    ) -> Result<(Self, Takeover), CaptureError> {
        let folder = PinFolder::open(&settings.pin_dir)?;
        let resumed = folder.has_links();
        let version = folder.version();
        let outcome = Self::set_up(settings, rules, listener, folder, resumed);
        if outcome.is_err() && !resumed {
            // The first error is the one to tell; what cannot be removed shows at the next start.
            let _ = version.remove();
        }
        outcome
    }

    fn set_up(
        settings: &Settings,
        rules: &[EndpointRule],
        listener: ListenerPorts,
        folder: PinFolder,
        resumed: bool,
    ) -> Result<(Self, Takeover), CaptureError> {
        let cgroup = Cgroup::open(settings.cgroup.as_deref())?;
        folder.check_maps()?;
        let mut loaded = programs::load(&folder)?;
        folder.check_maps()?;

        let mut capture = Self::with_maps(settings, &mut loaded, folder, cgroup)?;
        let last_heartbeat_ns = capture.last_heartbeat()?;
        Self::set_conduct(&mut loaded, settings)?;
        capture.set_listener(&mut loaded, listener)?;
        capture.replace_rules(rules)?;
        capture.sweep(STRANDED)?;
        capture.beat()?;
        // Before the first connection: nobody writes on one unnoticed.
        capture.watch = Watch::start(&mut loaded, settings.watch_writers);
        for program in PROGRAMS.into_iter().filter(|program| *program != BACKSTOP) {
            capture.place(&loaded, program)?;
        }
        // Between capturing new connections and dropping stray packets: what is found here is
        // older than the agent, and noted before the backstop could cut it off.
        let older = capture.older()?;
        capture.place(&loaded, BACKSTOP)?;
        // Programs of another layout would take this agent for dead and refuse its clients.
        let retired = capture.folder.retire_other_versions()?;
        capture.is_new = !resumed && retired == 0;
        let Unattended { passed, denied } = capture.unattended()?;
        let takeover = Takeover {
            resumed,
            last_heartbeat_ns,
            passed,
            denied,
            older,
        };
        Ok((capture, takeover))
    }

    fn with_maps(
        settings: &Settings,
        loaded: &mut Ebpf,
        folder: PinFolder,
        cgroup: Cgroup,
    ) -> Result<Self, CaptureError> {
        let pass =
            MapData::from_pin(folder.map("PASS")).map_err(CaptureError::map("open a map"))?;
        let agent =
            MapData::from_pin(folder.map("AGENT")).map_err(CaptureError::map("open a map"))?;
        let writes =
            MapData::from_pin(folder.map("WRITES")).map_err(CaptureError::map("open a map"))?;
        Ok(Self {
            folder,
            links: Vec::with_capacity(PROGRAMS.len()),
            is_new: false,
            on_stop: settings.on_stop,
            cgroup,
            existing: settings.existing,
            grace: Duration::from_secs(settings.existing_grace_seconds),
            other_namespaces: settings.other_namespaces,
            netns_cookie: listeners::namespace_cookie()?,
            rules: Mutex::new(Table(take::<LpmTrie<_, _, _>>(loaded, "RULES")?)),
            older: Mutex::new(take(loaded, "OLDER")?),
            flows: Mutex::new(take(loaded, "FLOWS")?),
            heartbeat: Mutex::new(take(loaded, "HEARTBEAT")?),
            reported: Mutex::new(take(loaded, "REPORTED")?),
            stats: take(loaded, "STATS")?,
            origins: Origins {
                map: Arc::new(take::<SkStorage<_, _>>(loaded, "ORIG_SERVER")?),
            },
            marker: Marker {
                map: Arc::new(Mutex::new(take(loaded, "AGENT")?)),
            },
            writers: Writers::open(take(loaded, "WRITERS")?, &writes)?,
            watch: Watch::Off,
            marks: vec![agent, pass],
        })
    }

    fn set_conduct(loaded: &mut Ebpf, settings: &Settings) -> Result<(), CaptureError> {
        let conduct = Conduct {
            on_agent_down: match settings.on_agent_down {
                OnAgentDown::Closed => REFUSE,
                OnAgentDown::Open => LET_PASS,
            },
            other_namespaces: match settings.other_namespaces {
                OtherNamespaces::Deny => REFUSE,
                OtherNamespaces::Report => LET_PASS,
            },
        };
        take::<Array<_, Conduct>>(loaded, "CONDUCT")?
            .set(0, conduct, 0)
            .map_err(CaptureError::map("tell the kernel how to act"))
    }

    /// Names the listeners of this namespace, and forgets those of agents before.
    fn set_listener(&self, loaded: &mut Ebpf, ports: ListenerPorts) -> Result<(), CaptureError> {
        let failed = "tell the kernel where the listeners are";
        let mut map: HashMap<_, u64, Listener> = take(loaded, "LISTENERS")?;
        let listener = Listener {
            v4: ports.v4.to_be_bytes(),
            v6: ports.v6.unwrap_or(0).to_be_bytes(),
        };
        map.insert(self.netns_cookie, listener, 0)
            .map_err(CaptureError::map(failed))?;
        let present: Vec<u64> = map
            .keys()
            .collect::<Result<_, _>>()
            .map_err(CaptureError::map(failed))?;
        for cookie in present
            .into_iter()
            .filter(|cookie| *cookie != self.netns_cookie)
        {
            map.remove(&cookie).map_err(CaptureError::map(failed))?;
        }
        Ok(())
    }

    fn place(
        &mut self,
        loaded: &Ebpf,
        program: (&'static str, super::sys::Hook),
    ) -> Result<(), CaptureError> {
        let link = programs::place(loaded, program, &self.folder, &self.cgroup)?;
        self.links.push(link);
        Ok(())
    }

    /// When the agent before gave its last sign of life, nanoseconds since the epoch.
    fn last_heartbeat(&self) -> Result<Option<u64>, CaptureError> {
        let beat = hold(&self.heartbeat)
            .get(&0, 0)
            .map_err(CaptureError::map("read the heartbeat"))?;
        if beat.at_ns == 0 {
            return Ok(None);
        }
        let ago = boot_ns().saturating_sub(beat.at_ns);
        Ok(Some(clock::now_ns().saturating_sub(ago)))
    }

    /// The lookup of accepted sockets' origins.
    #[must_use]
    pub fn origins(&self) -> Origins {
        self.origins.clone()
    }

    /// The marker of the agent's own sockets.
    #[must_use]
    pub fn marker(&self) -> Marker {
        self.marker.clone()
    }

    /// Who else writes on connections; `None` where the kernel does not tell, or nobody wants to know.
    #[must_use]
    pub fn writers(&self) -> Option<Writers> {
        self.watch.is_on().then(|| self.writers.clone())
    }

    /// What a start that fails later has to drop: it takes the programs out of the kernel again. `None` where an earlier agent
    /// had left some, because then it was governed before this start and goes on being so.
    pub fn provisional(&self) -> Option<Provisional> {
        self.is_new.then(|| self.folder.provisional())
    }

    /// Governs other destinations from now on. Connections that exist are not touched: see
    /// [`Capture::older`].
    ///
    /// # Errors
    ///
    /// [`CaptureError::TooManyRules`], with the rules as they were, or [`CaptureError::Map`].
    pub fn replace_rules(&self, rules: &[EndpointRule]) -> Result<(), CaptureError> {
        hold(&self.rules).replace(&rules::compile(rules))
    }

    /// Tells the kernel that the agent is alive.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`] when the kernel does not take it.
    pub fn beat(&self) -> Result<(), CaptureError> {
        self.set_heartbeat(1)
    }

    fn set_heartbeat(&self, running: u64) -> Result<(), CaptureError> {
        hold(&self.heartbeat)
            .set(
                0,
                Heartbeat {
                    at_ns: boot_ns(),
                    running,
                },
                0,
            )
            .map_err(CaptureError::map("write the heartbeat"))
    }

    /// Ends as the settings say: leaves the programs in the kernel or removes them.
    ///
    /// # Errors
    ///
    /// As [`Capture::keep`] and [`Capture::detach`].
    pub fn stop(self) -> Result<(), CaptureError> {
        match self.on_stop {
            OnStop::Keep => self.keep(),
            OnStop::Detach => self.detach(),
        }
    }

    /// Leaves the programs in the kernel. The agent counts as down at once.
    ///
    /// # Errors
    ///
    /// [`CaptureError::Map`]; the heartbeat goes stale by itself then.
    pub fn keep(self) -> Result<(), CaptureError> {
        self.set_heartbeat(0)
    }

    /// Removes everything from the kernel: connections are no longer governed.
    ///
    /// # Errors
    ///
    /// [`CaptureError::PinFolder`] when a pin cannot be removed.
    pub fn detach(self) -> Result<(), CaptureError> {
        self.folder.version().remove().map(drop)
    }
}

/// Takes a map out of the loaded object, typed.
fn take<T>(loaded: &mut Ebpf, name: &'static str) -> Result<T, CaptureError>
where
    T: TryFrom<Map, Error = MapError>,
{
    loaded
        .take_map(name)
        .ok_or_else(|| MapError::InvalidName {
            name: name.to_owned(),
        })
        .and_then(T::try_from)
        .map_err(CaptureError::map("use a map of the kernel programs"))
}

/// A value in a map is whole after each call, so a panic elsewhere spoils nothing.
pub(super) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn boot_ns() -> u64 {
    u64::try_from(clock::boot().as_nanos()).unwrap_or(u64::MAX)
}
