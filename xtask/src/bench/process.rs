//! What the kernel says about processes: processor time, memory, and which processor they may use.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use nix::time::ClockId;
use nix::unistd::{Pid, SysconfVar, sysconf};

use super::statistics::real;

/// The processor time process `pid` has used in all its threads, from its own clock: exact to
/// the nanosecond, where the sums in `/proc/PID/stat` are exact to 10 ms.
pub(crate) fn processor_time(pid: u32) -> Result<Duration> {
    let clock = ClockId::pid_cpu_clock_id(id(pid)?)
        .with_context(|| format!("looking for the clock of process {pid}"))?;
    let time = clock
        .now()
        .with_context(|| format!("reading the clock of process {pid}"))?;
    Ok(Duration::from(time))
}

/// Processor time of a server and its children, those that have ended included.
pub(crate) fn family_time(parent: u32) -> Result<Duration> {
    let own = Times::read(parent)?;
    let mut ticks = own.own_ticks + own.ended_children_ticks;
    for child in children(parent)? {
        // One that has ended since is in its parent's sum the next time.
        ticks += Times::read(child).map_or(0, |times| times.own_ticks);
    }
    ticks_to_time(ticks)
}

/// Processor time of the children of this process that have ended and were waited for.
pub(crate) fn clients_time() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("reading the clients' times")?;
    let duration = |time: TimeVal| -> Result<Duration> {
        let seconds = Duration::from_secs(time.tv_sec().try_into()?);
        Ok(seconds + Duration::from_micros(time.tv_usec().try_into()?))
    };
    Ok(duration(usage.user_time())? + duration(usage.system_time())?)
}

/// Processor time the whole machine has used since it started.
pub(crate) fn machine_time() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = stat.lines().next().context("/proc/stat is empty")?;
    let fields = line.split_whitespace().skip(1).take(8);
    let ticks: Vec<u64> = fields.map(str::parse).collect::<Result<_, _>>()?;
    let [
        user,
        nice,
        system,
        _idle,
        _waiting,
        interrupts,
        soft_interrupts,
        stolen,
    ] = ticks[..]
    else {
        anyhow::bail!("/proc/stat has an unknown form: {line}");
    };
    ticks_to_time(user + nice + system + interrupts + soft_interrupts + stolen)
}

/// Resident memory of a process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// `VmRSS`.
    pub(crate) resident_kib: u64,
    /// `Pss`: pages shared with other processes count in part.
    pub(crate) proportional_kib: u64,
}

impl Memory {
    /// Reads what process `pid` occupies now.
    pub(crate) fn read(pid: u32) -> Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
        Ok(Self {
            resident_kib: kib(&status, "VmRSS:")?,
            proportional_kib: kib(&rollup, "Pss:")?,
        })
    }
}

/// Which processors a workload may use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Processors(CpuSet);

impl Processors {
    /// All that this process may use.
    pub(crate) fn all() -> Result<Self> {
        let set = sched_getaffinity(Pid::from_raw(0)).context("reading the usable processors")?;
        Ok(Self(set))
    }

    /// The last of these: the first one serves most interrupts.
    pub(crate) fn last(self) -> Result<Self> {
        let used = (0..CpuSet::count())
            .rev()
            .find(|cpu| self.0.is_set(*cpu).unwrap_or(false));
        let mut only = CpuSet::new();
        only.set(used.context("no processor is usable")?)?;
        Ok(Self(only))
    }

    /// Binds every thread of `pid`; threads and children it starts later inherit that.
    pub(crate) fn bind(self, pid: u32) -> Result<()> {
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            if let Ok(thread) = entry?.file_name().to_string_lossy().parse() {
                // A thread may have ended since it was listed.
                let _ = sched_setaffinity(Pid::from_raw(thread), &self.0);
            }
        }
        Ok(())
    }

    /// Binds `parent` and its children.
    pub(crate) fn bind_family(self, parent: u32) -> Result<()> {
        self.bind(parent)?;
        for child in children(parent)? {
            let _ = self.bind(child);
        }
        Ok(())
    }

    /// Runs `action` with the calling thread bound, so that processes it starts are.
    pub(crate) fn while_bound<T>(self, action: impl FnOnce() -> Result<T>) -> Result<T> {
        let own_thread = Pid::from_raw(0);
        let before = sched_getaffinity(own_thread)?;
        sched_setaffinity(own_thread, &self.0).context("binding to one processor")?;
        let result = action();
        sched_setaffinity(own_thread, &before).context("leaving the one processor")?;
        result
    }
}

/// How many cores' worth of time passed in `elapsed`.
pub(crate) fn cores(time: Duration, elapsed: Duration) -> f64 {
    time.as_secs_f64() / elapsed.as_secs_f64().max(f64::EPSILON)
}

struct Times {
    parent: u32,
    own_ticks: u64,
    ended_children_ticks: u64,
}

impl Times {
    fn read(pid: u32) -> Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Self::parse(&stat).with_context(|| format!("reading /proc/{pid}/stat"))
    }

    /// <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>: fields 4 and 14 to 17, counted
    /// behind the name, which may contain anything.
    fn parse(stat: &str) -> Result<Self> {
        let (_, behind_name) = stat.rsplit_once(')').context("no name")?;
        let fields: Vec<&str> = behind_name.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).context("a field is missing");
        let ticks = |number| -> Result<u64> { Ok(field(number)?.parse()?) };
        Ok(Self {
            parent: field(4)?.parse()?,
            own_ticks: ticks(14)? + ticks(15)?,
            ended_children_ticks: ticks(16)? + ticks(17)?,
        })
    }
}

fn children(parent: u32) -> Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc").context("listing processes")? {
        let Ok(pid) = entry?.file_name().to_string_lossy().parse() else {
            continue;
        };
        if Times::read(pid).is_ok_and(|times| times.parent == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

fn kib(text: &str, name: &str) -> Result<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name));
    let value = value.with_context(|| format!("{name} is missing"))?;
    Ok(value.trim().trim_end_matches("kB").trim_end().parse()?)
}

fn ticks_to_time(ticks: u64) -> Result<Duration> {
    let per_second = sysconf(SysconfVar::CLK_TCK)?.context("the clock has no ticks")?;
    Ok(Duration::from_secs_f64(
        real(ticks) / real(per_second.try_into()?),
    ))
}

fn id(pid: u32) -> Result<Pid> {
    Ok(Pid::from_raw(pid.try_into()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_look_like_fields() {
        let stat = "7 (a) b) S 3 7 7 0 -1 0 0 0 0 0 11 22 33 44 20 0 1 0";
        let times = Times::parse(stat).expect("it has every field");
        assert_eq!(
            (times.parent, times.own_ticks, times.ended_children_ticks),
            (3, 33, 77)
        );
    }

    #[test]
    fn memory_lines_are_found_by_name() {
        let status = "VmPeak:\t  900 kB\nVmRSS:\t  12 kB\n";
        assert_eq!(kib(status, "VmRSS:").expect("it is there"), 12);
        assert!(kib(status, "Pss:").is_err());
    }

    #[test]
    fn own_clock_and_memory_can_be_read() {
        let own = std::process::id();
        assert!(processor_time(own).expect("own clock") > Duration::ZERO);
        assert!(Memory::read(own).expect("own memory").resident_kib > 100);
    }
}
