//! One chromedriver for the whole test binary, on a port of its own choice. `keeper.sh` ends it with the tests.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::LazyLock;

/// A chromedriver that runs, and the folder of everything that the tests leave behind.
pub(crate) struct Driver {
    pub(crate) url: String,
    pub(crate) chromium: PathBuf,
    folder: PathBuf,
    /// Their ends are what the keeper waits for and what chromedriver writes to; they close with this process.
    _pipes: (Child, ChildStdin, BufReader<ChildStdout>),
}

/// Started by the first test that asks.
pub(crate) fn driver() -> &'static Driver {
    static DRIVER: LazyLock<Driver> = LazyLock::new(Driver::start);
    &DRIVER
}

impl Driver {
    fn start() -> Self {
        let chromium = installed("chromium", "chromium");
        installed("chromedriver", "chromium-driver");
        let folder = tempfile::Builder::new().prefix("livewebcam-page-").tempdir().expect("a temporary folder").keep();
        let mut keeper = Command::new("sh")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/e2e/keeper.sh"))
            .arg(&folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C on a terminal reaches the tests; the keeper learns of it by their end.
            .process_group(0)
            .spawn()
            .expect("failed to start a shell");
        let stdin = keeper.stdin.take().expect("a pipe");
        let mut stdout = BufReader::new(keeper.stdout.take().expect("a pipe"));
        let port = port(&mut stdout);
        Self { url: format!("http://127.0.0.1:{port}"), chromium, folder, _pipes: (keeper, stdin, stdout) }
    }

    /// A new empty folder that disappears with the tests.
    pub(crate) fn new_folder(&self, prefix: &str) -> PathBuf {
        tempfile::Builder::new().prefix(prefix).tempdir_in(&self.folder).expect("a temporary folder").keep()
    }

    /// Whether the tests run as root, for whom Chromium's sandbox does not work.
    pub(crate) fn as_root(&self) -> bool {
        self.folder.metadata().expect("the folder's metadata").uid() == 0
    }
}

fn port(stdout: &mut impl BufRead) -> u16 {
    let mut said = String::new();
    while stdout.read_line(&mut said).expect("failed to read what chromedriver says") > 0 {
        if let Some((_, port)) = said.trim_end().trim_end_matches('.').rsplit_once("started successfully on port ") {
            return port.parse().expect("a port");
        }
    }
    panic!("chromedriver does not start; it says: {said}");
}

fn installed(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file()).unwrap_or_else(
        || panic!("{program} is missing: it is in Debian's package {package}; apt-get install {package}"),
    )
}
