//! `livewebcam jobs`: the directories without a browser and without a server.

use std::fs;

use livewebcam_jobs::{JobFile, JobId, Marker, Status};

use super::{livewebcam, run};
use crate::tree::Tree;

/// A failed, a painted and two unfinished jobs, oldest first; the last is claimed.
fn history(tree: &Tree) -> [JobId; 4] {
    let hostile = "fox\u{1b}[31m\nbroken";
    let failed = tree.stage(|request| request.model = format!("starter{hostile}"));
    tree.conclude(failed, Status::Failed);
    fs::write(tree.dir(failed).file(JobFile::Log), "last words\u{1b}]0;title\u{7} of the job\n").expect("a log");
    let done = tree.stage(|_| {});
    tree.conclude(done, Status::Done);
    tree.mark(&Marker::Done, done);
    let staged = tree.stage(|_| {});
    tree.mark(&Marker::Queued { model_key: "starter".to_owned() }, staged);
    let claimed = tree.stage(|_| {});
    let claim = r#"{"by": "runner", "host": "node7", "pid": 1, "nonce": "0"}"#;
    fs::write(tree.dir(claimed).file(JobFile::Claim), claim).expect("a claim");
    [failed, done, staged, claimed]
}

#[tokio::test]
async fn ls_lists_the_newest_first_a_line_each() {
    let tree = Tree::new();
    let empty = run(&mut livewebcam(&tree, &["jobs", "ls"])).await;
    assert_eq!((empty.code, empty.stdout.as_str()), (0, ""));
    let [failed, done, staged, claimed] = history(&tree);
    let said = run(&mut livewebcam(&tree, &["jobs", "ls"])).await;
    let lines: Vec<&str> = said.stdout.lines().collect();
    let expected = [(claimed, "running"), (staged, "queued"), (done, "done"), (failed, "failed")];
    assert_eq!(lines.len(), expected.len(), "{}", said.stdout);
    for (line, (id, state)) in lines.iter().zip(expected) {
        assert!(line.starts_with(&format!("{id}  {state}")), "{line}");
    }
    assert!(lines[3].contains("the model refuses") && !said.stdout.contains('\u{1b}'), "{}", said.stdout);
    let said = run(&mut livewebcam(&tree, &["jobs", "ls", "--count", "1"])).await;
    assert!(said.stdout.starts_with(&claimed.to_string()) && said.stdout.ends_with("3 more; see --count\n"));
}

#[tokio::test]
async fn show_tells_a_jobs_story_safely() {
    let tree = Tree::new();
    let [failed, ..] = history(&tree);
    let said = run(&mut livewebcam(&tree, &["jobs", "show", &failed.to_string()])).await;
    assert_eq!(said.code, 0, "{}", said.stderr);
    let path = tree.dir(failed).path().display().to_string();
    for words in
        [path.as_str(), "failed", "\"width\": 64", "the model refuses", "in /opt/secret", "last words of the job"]
    {
        assert!(said.stdout.contains(words), "{words:?} is not in {}", said.stdout);
    }
    assert!(!said.stdout.contains(['\u{1b}', '\u{7}']) && !said.stdout.contains("title"));
    let nobodys = JobId::new().to_string();
    let said = run(&mut livewebcam(&tree, &["jobs", "show", &nobodys])).await;
    said.failed_with(&[&format!("there is no job {nobodys}")]);
    let said = run(&mut livewebcam(&tree, &["jobs", "show", "../../etc"])).await;
    assert_eq!(said.code, 2);
    assert!(said.stderr.contains("a job id is a UUID in lower case"), "{}", said.stderr);
}

#[tokio::test]
async fn cancel_wins_a_free_job_and_tells_a_claimed_ones_runner() {
    let tree = Tree::new();
    let [failed, _, staged, claimed] = history(&tree);
    let said = run(&mut livewebcam(&tree, &["jobs", "cancel", &staged.to_string()])).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "cancelled before anybody had claimed it\n"), "{}", said.stderr);
    let outcome = tree.outcome(staged).expect("a result");
    assert_eq!(outcome.failure.expect("a reason").reason, "cancelled by the operator");
    assert!(tree.dir(staged).file(JobFile::Claim).exists() && !tree.markers().iter().any(|m| m.starts_with("queue/")));
    let said = run(&mut livewebcam(&tree, &["jobs", "cancel", &claimed.to_string()])).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "its runner is told to stop\n"), "{}", said.stderr);
    assert!(tree.dir(claimed).file(JobFile::Cancel).exists() && tree.outcome(claimed).is_none());
    let said = run(&mut livewebcam(&tree, &["jobs", "cancel", &failed.to_string()])).await;
    said.failed_with(&["the job has already ended (failed)"]);
}

#[tokio::test]
async fn clean_removes_what_is_concluded_and_nothing_else() {
    let tree = Tree::new();
    let [_, done, staged, claimed] = history(&tree);
    let said = run(&mut livewebcam(&tree, &["jobs", "clean", "--keep", "3"])).await;
    assert_eq!((said.code, said.stdout.as_str()), (0, "removed 1 concluded jobs\n"), "{}", said.stderr);
    assert_eq!(tree.jobs(), [done, staged, claimed]);
    let said = run(&mut livewebcam(&tree, &["jobs", "clean"])).await;
    assert_eq!(said.code, 0);
    assert_eq!(tree.jobs(), [staged, claimed]);
    assert_eq!(tree.markers(), [format!("queue/starter/{staged}")], "a marker of a removed job is left");
}
