//! Runners that do not paint: shell scripts in the real one's place, started by the same batch script.

use std::io::Write;
use std::process::{Command, Stdio};

use livewebcam_jobs::{Outcome, local};

use crate::tree::Tree;

/// Claims the job as a runner does, and moves its marker.
pub const CLAIM: &str = "
printf '{\"by\":\"runner\",\"host\":\"node7\",\"pid\":%d,\"nonce\":\"0\"}' $$ >claim.json
mv ../../queue/starter/$id ../../running/$id
echo claimed";

/// Stays until it is ended. Its first process is the one that sleeps.
pub const SLEEP: &str = "
echo sleeping
exec sleep 600";

/// Concludes the job with these words in `result.json`, and moves its marker.
pub fn conclude(result: &[u8]) -> String {
    let result = std::str::from_utf8(result).expect("a text");
    format!("cat >result.json <<'END'\n{result}\nEND\nmv ../../running/$id ../../done/$id")
}

/// Concludes the job so.
pub fn conclude_with(outcome: &Outcome) -> String {
    conclude(&local::to_json(outcome))
}

impl Tree {
    /// Puts a shell script in the runner's place. It starts in the job's directory, with the job's id in `$id`.
    pub fn replace_runner(&self, script: &str) {
        let (runner, new) = (self.root.runner(), self.root.path().join("bin/new"));
        // Written by another process: a child that another test forks meanwhile would inherit the open file, and a script
        // that is open for writing cannot be executed.
        let mut shell = Command::new("/bin/sh")
            .args(["-c", r#"cat >"$0" && chmod 700 "$0" && mv "$0" "$1""#])
            .args([&new, &runner])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut stdin = shell.stdin.take().expect("a pipe");
        write!(stdin, "#!/bin/sh\ncd \"$3\" || exit 9\nid=${{PWD##*/}}\n{script}\n").expect("a script");
        drop(stdin);
        assert!(shell.wait().expect("an end").success());
    }
}
