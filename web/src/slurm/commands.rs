//! The command lines, as lists of words.

use std::path::Path;

use livewebcam_jobs::JobFile;

/// What separates the fields of [`squeue`]'s lines: Slurm's job id, the job's name, its state, the reason.
pub(super) const SQUEUE_FORMAT: &str = "--format=%i|%j|%T|%r";

/// Submits the script of a batch job's directory, which becomes the working directory: `slurm.log` appears in it.
#[must_use]
pub fn sbatch(directory: &Path) -> Vec<String> {
    sbatch_with("--parsable", directory)
}

/// Asks whether the script of a batch job's directory would be accepted, and when it would start; submits nothing.
#[must_use]
pub fn sbatch_test_only(directory: &Path) -> Vec<String> {
    sbatch_with("--test-only", directory)
}

fn sbatch_with(option: &str, directory: &Path) -> Vec<String> {
    // Paths come out of the settings, which are UTF-8.
    let script = directory.join(JobFile::Script.name());
    words(&["sbatch", option, &format!("--chdir={}", directory.display()), &script.to_string_lossy()])
}

/// Lists all jobs of the account that Slurm still knows, whatever their state.
#[must_use]
pub fn squeue() -> Vec<String> {
    words(&["squeue", "--me", "--noheader", "--states=all", SQUEUE_FORMAT])
}

/// The same for the jobs of one name: after a submission whose outcome is unknown.
#[must_use]
pub fn squeue_named(job_name: &str) -> Vec<String> {
    let mut words = squeue();
    words.push(format!("--name={job_name}"));
    words
}

/// Ends the jobs of one name, waiting or running.
///
/// One name a command: scancel takes a list for a single long name, finds nothing and reports success, as it does
/// whenever there is no such job.
#[must_use]
pub fn scancel(job_name: &str) -> Vec<String> {
    words(&["scancel", "--me", &format!("--name={job_name}")])
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// One word for a POSIX shell, which reads the same text back whatever is in it. A NUL cannot stand in a command line
/// and is left out.
#[must_use]
pub fn shell_quote(word: &str) -> String {
    let plain =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | ',' | '+' | '=' | '@' | '%');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\0', "").replace('\'', r"'\''"))
}

/// A command line for a POSIX shell.
#[must_use]
pub fn shell_line(words: &[String]) -> String {
    words.iter().map(|word| shell_quote(word)).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use livewebcam_jobs::Root;

    use super::*;

    #[test]
    fn commands_are_spelt_as_slurm_wants_them() {
        let id = "0198f0c2-7b1e-7c3a-9d2e-5f6a7b8c9d0e";
        let job = Root::new("/my lab's").job(id.parse().expect("an id"));
        let directory = format!("/my lab's/jobs/{id}");
        let script = format!("{directory}/job.sbatch");
        assert_eq!(sbatch(job.path()), ["sbatch", "--parsable", &format!("--chdir={directory}"), &script]);
        assert_eq!(sbatch_test_only(job.path())[1], "--test-only");
        let folder = format!(r"/my lab'\''s/jobs/{id}");
        let line = format!("sbatch --parsable '--chdir={folder}' '{folder}/job.sbatch'");
        assert_eq!(shell_line(&sbatch(job.path())), line);
        assert_eq!(shell_line(&squeue()), "squeue --me --noheader --states=all '--format=%i|%j|%T|%r'");
        assert_eq!(squeue_named("livewebcam-x").last().expect("a word"), "--name=livewebcam-x");
        assert_eq!(shell_line(&scancel("livewebcam-x")), "scancel --me --name=livewebcam-x");
    }

    #[test]
    fn a_shell_reads_every_quoted_word_back() {
        for word in [
            "",
            "plain-word_1.2/3:4,5+6=7@8%9",
            "two words",
            "it's",
            "'",
            "''\\''",
            "$(reboot) `reboot` $HOME ${x}",
            "a\nb\tc",
            "*?[a]~!#&;|<>()\"\\",
            "~root",
            "-n",
            "x=1",
            "ünï 山",
        ] {
            let output = Command::new("sh")
                .arg("-c")
                .arg(format!("printf '%s|' {}", shell_line(&[word.to_owned(), "end".to_owned()])))
                .output()
                .expect("sh runs");
            assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{word}|end|"), "{word:?}");
        }
        assert_eq!(shell_quote("a\0b"), "'ab'");
    }
}
