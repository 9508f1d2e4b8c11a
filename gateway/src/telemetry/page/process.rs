//! The process as /proc shows it.

use std::fmt::Write as _;

use super::Page;

/// The process as /proc shows it; what cannot be read is left out.
pub(super) fn render(page: &mut Page) {
    if let Ok(entries) = std::fs::read_dir("/proc/self/fd") {
        page.gauge("process_open_fds", "Open file descriptors.", entries.count());
    }
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    if let Some(max) = files.current {
        page.gauge("process_max_fds", "Most file descriptors that may be open.", max);
    }
    let Some(stat) = Stat::read() else { return };
    page.gauge("process_resident_memory_bytes", "Memory in use.", stat.resident_bytes);
    page.gauge("process_virtual_memory_bytes", "Address space in use.", stat.virtual_bytes);
    page.gauge("process_threads", "Threads.", stat.threads);
    if let Some(at) = started_at(&stat) {
        page.gauge("process_start_time_seconds", "When the process was started, since 1970 UTC.", at);
    }
    let name = "process_cpu_seconds_total";
    page.family(name, "counter", "Processor time used, user and system.");
    let _ =
        writeln!(page.0, "{name} {}", stat.cpu_ticks as f64 / rustix::param::clock_ticks_per_second() as f64);
}

fn started_at(stat: &Stat) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(boot + stat.started_ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

struct Stat {
    cpu_ticks: u64,
    threads: u64,
    virtual_bytes: u64,
    resident_bytes: u64,
    /// Ticks from the machine's start to the process's.
    started_ticks: u64,
}

impl Stat {
    fn read() -> Option<Self> {
        let text = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses and may hold anything; the third follows the last one.
        let (_, rest) = text.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            virtual_bytes: field(23)?,
            started_ticks: field(22)?,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
        })
    }
}
