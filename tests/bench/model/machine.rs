//! What the bench runs on.

use std::fs;
use std::thread::available_parallelism;

use anyhow::Result;

/// The processor, as the system describes it.
pub(crate) struct Machine {
    name: String,
    flags: Vec<String>,
    gibibytes: f64,
    /// Threads that this process may use.
    pub(crate) threads: usize,
}

/// The flags of `/proc/cpuinfo` that matter here; arm64 calls its own `asimd` and `bf16`.
const INSTRUCTIONS: [&str; 9] =
    ["avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16"];

impl Machine {
    pub(crate) fn read() -> Result<Self> {
        let processors = fs::read_to_string("/proc/cpuinfo")?;
        let field = |names: &[&str]| {
            let line = processors.lines().find(|line| names.iter().any(|name| line.starts_with(name)));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
        };
        let memory = fs::read_to_string("/proc/meminfo")?;
        let kibibytes = memory.split_whitespace().nth(1).and_then(|total| total.parse::<f64>().ok());
        Ok(Self {
            name: field(&["model name", "CPU part"]),
            flags: field(&["flags", "Features"]).split(' ').map(str::to_owned).collect(),
            gibibytes: kibibytes.unwrap_or(0.0) / f64::from(1 << 20),
            threads: available_parallelism()?.get(),
        })
    }

    pub(crate) fn has(&self, instructions: &str) -> bool {
        self.flags.iter().any(|flag| flag == instructions)
    }

    /// Whether products of bf16 are instructions that are faster than those of f32, which Intel's are with AMX alone. Where they
    /// are not, the peers are slower in bf16 than in f32; where there are none, a painting of PyTorch's takes an hour.
    pub(crate) fn multiplies_bf16(&self) -> bool {
        let avx512 = self.has("avx512_bf16") && !self.name.contains("Intel");
        avx512 || ["amx_bf16", "bf16"].iter().any(|flag| self.has(flag))
    }

    /// One line.
    pub(crate) fn describe(&self) -> String {
        let known: Vec<_> = INSTRUCTIONS.into_iter().filter(|name| self.has(name)).collect();
        let (name, threads, memory) = (&self.name, self.threads, self.gibibytes);
        format!("{name}; {}; {threads} threads; {memory:.0} GiB", known.join(", "))
    }
}
