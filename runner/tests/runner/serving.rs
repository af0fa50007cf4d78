//! The warm runner: one process, many frames; how it comes by them, and how it leaves.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use livewebcam_jobs::batch_script::{Resources, Serving};
use livewebcam_jobs::{
    Author, Claim, DeviceChoice, Heartbeat, JobFile, JobId, Marker, RunnerFile, RunnerId, RunnerState, Stage, State,
    Status, local,
};

use crate::support::{Ended, Job, Running, Tree, content, large_frame, patiently, photo, runner};

const PAINTED: State = State::Concluded(Status::Done);

/// A warm runner of a tree.
pub(crate) struct Warm<'a> {
    tree: &'a Tree,
    id: RunnerId,
}

impl<'a> Warm<'a> {
    pub(crate) fn of(tree: &'a Tree) -> Self {
        Self { tree, id: RunnerId::new() }
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = runner();
        command.arg("serve").arg("--root").arg(self.tree.root.path()).args(["--runner", &self.id.to_string()]);
        command.args(options).stderr(Stdio::piped());
        command
    }

    fn start(&self, options: &[&str]) -> Running {
        Running::start(self.command(options))
    }

    /// Has it paint what waits.
    pub(crate) fn paint_all(&self, model: &str) -> Ended {
        let ended = self.start(&["--model", model, "--idle-exit", "0"]).end();
        assert_eq!(ended.code, Some(0), "{}", ended.log);
        ended
    }

    fn heartbeat(&self) -> Option<Heartbeat> {
        local::read_json(&self.tree.root.warm_runner(self.id).file(RunnerFile::Heartbeat)).expect("a heartbeat")
    }

    fn await_heartbeat(&self) {
        patiently("the runner does not live", || self.heartbeat().is_some());
    }

    fn stop(&self) {
        fs::write(self.tree.root.warm_runner(self.id).file(RunnerFile::Stop), "").expect("a file");
    }

    /// It left for this reason, and said so.
    #[track_caller]
    fn assert_left(&self, why: &str) {
        let heartbeat = self.heartbeat().expect("a heartbeat");
        assert_eq!(heartbeat.state, RunnerState::Left { why: why.to_owned() });
    }

    fn signs(&self, author: &Author) -> bool {
        matches!(author, Author::Runner { runner, .. } if *runner == Some(self.id))
    }
}

#[test]
fn one_process_paints_frame_after_frame_and_loads_once() {
    let tree = Tree::new();
    let styles = ["pastel", "embers", "starry night:0.5, pastel:0.5", "pastel"];
    let style = |n: usize| Some(styles[n].parse().expect("a style"));
    let stage = |n| tree.stage(&photo(), |request| request.parameters.style = style(n));
    let jobs: Vec<Job> = (0..styles.len()).map(stage).collect();
    let warm = Warm::of(&tree);
    let ended = warm.paint_all("starter");

    for (n, job) in jobs.iter().enumerate() {
        let outcome = job.outcome().expect("a result");
        assert_eq!((outcome.status, job.markers()), (Status::Done, [false, false, true]));
        let claim: Claim = local::read_json(&job.dir.file(JobFile::Claim)).expect("readable").expect("a claim");
        assert!(warm.signs(&claim.author) && claim.author == outcome.author);
        let timings = outcome.timings;
        assert_eq!(timings.load_ms == 0.0, n > 0, "{timings:?}");
        let parts = timings.load_ms + timings.paint_ms + timings.write_ms;
        assert!(timings.paint_ms > 0.0 && parts <= timings.total_ms, "{timings:?}");

        let alone = Job::with(&photo(), |request| request.parameters.style = style(n));
        alone.run();
        let [picture, expected] = [job, &alone].map(|job| content(&job.dir.file(JobFile::Output)));
        assert!(picture == expected, "{} looks different from a warm runner", styles[n]);
    }
    let places: Vec<usize> =
        jobs.iter().filter_map(|job| ended.log.find(&format!("job {}: painted", job.id))).collect();
    assert!(places.len() == jobs.len() && places.is_sorted(), "the oldest first: {}", ended.log);
    assert!(ended.log.contains("leaves (4 painted): no frame for 0 s"), "{}", ended.log);
    let heartbeat = warm.heartbeat().expect("a heartbeat");
    assert_eq!((heartbeat.painted, heartbeat.model.as_deref()), (4, Some("starter")));
    assert_eq!(heartbeat.device, Some(DeviceChoice::Cpu));
    assert!(warm.signs(&heartbeat.author));
    warm.assert_left("no frame for 0 s");
}

#[test]
fn runners_that_race_paint_each_frame_once() {
    for runners in [2, 4] {
        let tree = Tree::new();
        let frame = image::imageops::crop_imm(&photo(), 0, 0, 32, 32).to_image();
        let jobs: Vec<Job> = (0..40).map(|_| tree.stage(&frame, |_| {})).collect();
        let warm: Vec<Warm<'_>> = (0..runners).map(|_| Warm::of(&tree)).collect();
        let racing: Vec<Running> = warm.iter().map(|warm| warm.start(&["--idle-exit", "0"])).collect();
        let logs: Vec<String> = racing.into_iter().map(|running| running.end().log).collect();

        for job in &jobs {
            let outcome = job.outcome().expect("a result");
            assert_eq!((job.state(), job.markers()), (PAINTED, [false, false, true]), "{logs:#?}");
            let claim: Claim = local::read_json(&job.dir.file(JobFile::Claim)).expect("readable").expect("a claim");
            assert_eq!(claim.author, outcome.author);
            let line = format!("job {}: painted", job.id);
            let painted: Vec<usize> = logs.iter().map(|log| log.matches(&line).count()).collect();
            let signed: Vec<usize> = warm.iter().map(|warm| usize::from(warm.signs(&claim.author))).collect();
            assert_eq!((painted.iter().sum::<usize>(), &painted), (1, &signed));
        }
        let counted: u64 = warm.iter().filter_map(Warm::heartbeat).map(|heartbeat| heartbeat.painted).sum();
        assert_eq!(counted, 40);
    }
}

#[test]
fn an_idle_runner_paints_what_comes_until_the_stop_file_ends_it() {
    let tree = Tree::new();
    let warm = Warm::of(&tree);
    let running = warm.start(&["--model", "starter"]);
    warm.await_heartbeat();
    for _ in 0..2 {
        let job = tree.stage(&photo(), |_| {});
        patiently("the frame is not painted", || job.state() == PAINTED);
    }
    patiently("it does not become idle", || {
        warm.heartbeat().is_some_and(|heartbeat| heartbeat.state == RunnerState::Idle && heartbeat.painted == 2)
    });
    warm.stop();
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    warm.assert_left("the file `stop` says so");
    assert_eq!(warm.heartbeat().map(|heartbeat| heartbeat.painted), Some(2));
}

#[test]
fn a_runner_that_is_to_leave_finishes_its_frame_and_takes_no_other() {
    let tree = Tree::new();
    let (first, second) = (tree.stage(&large_frame(), |_| {}), tree.stage(&photo(), |_| {}));
    let warm = Warm::of(&tree);
    let running = warm.start(&["--model", "starter"]);
    first.await_painting();
    warm.stop();
    assert_eq!(running.end().code, Some(0));
    assert_eq!((first.state(), second.state(), second.markers()[0]), (PAINTED, State::Queued, true));
}

#[test]
fn nobody_watches_and_it_leaves() {
    let tree = Tree::new();
    let warm = Warm::of(&tree);
    let ended = warm.start(&["--idle-exit", "1"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    warm.assert_left("no frame for 1 s");
}

#[test]
fn a_time_limit_that_is_near_leaves_the_frames_to_others() {
    let tree = Tree::new();
    let job = tree.stage(&photo(), |_| {});
    let warm = Warm::of(&tree);
    let ended = warm.start(&["--model", "starter", "--time-limit", "00:00:05"]).end();
    assert_eq!((ended.code, job.state()), (Some(0), State::Queued), "{}", ended.log);
    warm.assert_left("its time limit is near");
}

#[test]
fn a_signal_hands_the_frame_back() {
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let tree = Tree::new();
        let job = tree.stage(&large_frame(), |_| {});
        let warm = Warm::of(&tree);
        let mut running = warm.start(&["--model", "starter"]);
        job.await_painting();
        running.signal(signal);
        let ended = running.end();
        assert_eq!(ended.code, Some(128 + number), "{}", ended.log);
        job.assert_reason("the runner was told to stop");
        let outcome = job.outcome().expect("a result");
        assert!(warm.signs(&outcome.author) && outcome.status == Status::Failed);
        let failure = outcome.failure.expect("a failure");
        assert!(failure.handed_back && failure.stage == Stage::Paint, "{failure:?}");
        warm.assert_left(&format!("it was told to stop (signal {number})"));
    }
}

#[test]
fn a_signal_hands_nothing_back_that_nobody_wants_and_ends_an_idle_runner_too() {
    let tree = Tree::new();
    let job = tree.stage(&large_frame(), |_| {});
    let warm = Warm::of(&tree);
    let mut running = warm.start(&["--model", "starter"]);
    job.await_painting();
    job.write(JobFile::Cancel, b"");
    running.signal("TERM");
    // Where the runner saw the wish first, the signal met it idle.
    assert_eq!(running.end().code, Some(128 + 15));
    let outcome = job.outcome().expect("a result");
    assert_eq!((outcome.status, outcome.failure.map(|failure| failure.handed_back)), (Status::Cancelled, Some(false)));

    let warm = Warm::of(&tree);
    let mut running = warm.start(&["--model", "starter"]);
    warm.await_heartbeat();
    running.signal("TERM");
    let ended = running.end();
    assert_eq!(ended.code, Some(128 + 15), "{}", ended.log);
    warm.assert_left("it was told to stop (signal 15)");
}

#[test]
fn a_killed_runner_leaves_a_claim_without_a_result() {
    let tree = Tree::new();
    let job = tree.stage(&large_frame(), |_| {});
    let warm = Warm::of(&tree);
    let mut running = warm.start(&["--model", "starter"]);
    job.await_painting();
    patiently("the frame is not told", || {
        warm.heartbeat().is_some_and(|heartbeat| heartbeat.state == RunnerState::Painting { job: job.id })
    });
    running.signal("KILL");
    assert_eq!(running.end().code, None);
    assert_eq!((job.state(), job.markers()), (State::Running, [false, true, false]));
    let heartbeat = warm.heartbeat().expect("a heartbeat");
    assert_eq!(heartbeat.state, RunnerState::Painting { job: job.id });
    // Nobody else takes it.
    Warm::of(&tree).paint_all("starter");
    assert_eq!(job.state(), State::Running);
}

#[test]
fn stale_markers_are_skipped_and_those_that_stand_for_nothing_removed() {
    let tree = Tree::new();
    let mark = |job: &Job| fs::write(tree.root.marker(&job.queued(), job.id), "").expect("a marker");
    let concluded = tree.stage(&photo(), |_| {});
    concluded.run();
    mark(&concluded);
    let before = content(&concluded.dir.file(JobFile::Outcome));
    let foreign = tree.stage(&photo(), |_| {});
    let claim = Claim { author: Author::Frontend { instance: "f00d".to_owned() }, nonce: "1".to_owned() };
    foreign.write(JobFile::Claim, &local::to_json(&claim));
    let queue = tree.root.marker_dir(&foreign.queued());
    let gone = JobId::new();
    for name in [&gone.to_string(), "readme", ".nfs0001"] {
        fs::write(queue.join(name), "").expect("a marker");
    }
    let fresh = tree.stage(&photo(), |_| {});

    let ended = Warm::of(&tree).paint_all("starter");
    assert!(ended.log.contains("leaves (1 painted)"), "{}", ended.log);
    assert_eq!(fresh.state(), PAINTED);
    assert!(content(&concluded.dir.file(JobFile::Outcome)) == before && foreign.state() == State::Running);
    let mut left: Vec<_> =
        fs::read_dir(&queue).expect("a listing").map(|entry| entry.expect("an entry").file_name()).collect();
    left.sort();
    assert_eq!(left, [".nfs0001", foreign.id.to_string().as_str(), "readme"]);
}

#[test]
fn without_a_model_the_first_frame_chooses_the_queue() {
    let tree = Tree::new();
    let first = tree.stage(&photo(), |_| {});
    let other = tree.stage(&photo(), |request| request.model = "another".to_owned());
    let second = tree.stage(&photo(), |_| {});
    let ended = Warm::of(&tree).start(&["--idle-exit", "0"]).end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert_eq!([first, second].map(|job| job.state()), [PAINTED, PAINTED]);
    assert_eq!((other.state(), other.markers()[0]), (State::Queued, true));
}

#[test]
fn a_job_directory_that_disappears_costs_its_own_frame_only() {
    let tree = Tree::new();
    let (lost, next) = (tree.stage(&large_frame(), |_| {}), tree.stage(&photo(), |_| {}));
    let warm = Warm::of(&tree);
    let running = warm.start(&["--model", "starter", "--idle-exit", "0"]);
    lost.await_painting();
    let elsewhere = tree.root.path().join("elsewhere");
    fs::rename(lost.dir.path(), &elsewhere).expect("moved");
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains(&format!("job {}: its directory is gone", lost.id)), "{}", ended.log);
    assert_eq!((next.state(), lost.markers()), (PAINTED, [false, false, false]));
}

#[test]
fn a_runner_whose_directory_is_removed_leaves_and_a_missing_root_is_an_error() {
    let tree = Tree::new();
    let warm = Warm::of(&tree);
    let running = warm.start(&["--model", "starter"]);
    warm.await_heartbeat();
    let directory = tree.root.warm_runner(warm.id);
    // A beat may fall between the removal of its file and that of the folder.
    patiently("it cannot be removed", || fs::remove_dir_all(directory.path()).is_ok() || !directory.path().exists());
    let ended = running.end();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains("leaves (0 painted): its directory is gone"), "{}", ended.log);

    fs::remove_dir_all(tree.root.path()).expect("removed");
    let ended = warm.start(&[]).end();
    assert_eq!(ended.code, Some(1));
    assert!(ended.log.contains("cannot open the shared tree"), "{}", ended.log);
}

/// A runner under a limit of the size of files, in blocks of 512 bytes: to it, a full disk.
fn on_a_small_disk(warm: &Warm<'_>, blocks: u32) -> Ended {
    let command = warm.command(&["--model", "starter", "--idle-exit", "0"]);
    let script = format!("ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut limited = Command::new("sh");
    limited.args(["-c", &script]).arg(command.get_program()).args(command.get_args()).stderr(Stdio::piped());
    Running::start(limited).end()
}

#[test]
fn a_full_disk_fails_frames_and_not_the_runner() {
    let tree = Tree::new();
    let jobs = [tree.stage(&photo(), |_| {}), tree.stage(&photo(), |_| {})];
    // There is room for nothing: no claim, no heartbeat.
    let warm = Warm::of(&tree);
    let ended = on_a_small_disk(&warm, 0);
    assert_eq!((ended.code, warm.heartbeat()), (Some(0), None), "{}", ended.log);
    for message in ["the heartbeat cannot be written", "cannot be claimed"] {
        assert!(ended.log.contains(message), "{}", ended.log);
    }
    assert_eq!(jobs.each_ref().map(Job::state), [State::Queued, State::Queued]);
    // There is room for results, but for no picture.
    let ended = on_a_small_disk(&Warm::of(&tree), 2);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    for job in &jobs {
        job.assert_reason("the cluster's disk or quota is full");
    }
}

#[test]
fn the_batch_script_starts_it() {
    let tree = Tree::new();
    symlink(env!("CARGO_BIN_EXE_livewebcam-runner"), tree.root.runner()).expect("a link");
    let job = tree.stage(&photo(), |_| {});
    let warm = Warm::of(&tree);
    let directory = tree.root.warm_runner(warm.id);
    let serving = Serving { model: "starter", idle_exit: Some(0), time_limit: "1-0" };
    let script = Resources::default().script_of_runner(warm.id, &serving).expect("a script");
    fs::create_dir(directory.path()).expect("a directory");
    fs::write(directory.file(RunnerFile::Script), script).expect("a script");
    let mut command = Command::new("sh");
    command.arg(directory.file(RunnerFile::Script)).current_dir(directory.path());
    let output = command.output().expect("a shell");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((job.state(), job.marked(&Marker::Done)), (PAINTED, true));
    warm.assert_left("no frame for 0 s");
    // Should a lost answer of sbatch have started it twice, the second one leaves the first one's files alone.
    let again = command.output().expect("a shell");
    let complaint = String::from_utf8_lossy(&again.stderr);
    assert!(!again.status.success() && complaint.contains("is or was another process"), "{complaint}");
    warm.assert_left("no frame for 0 s");
}

#[test]
fn a_command_line_that_means_nothing_is_refused() {
    let tree = Tree::new();
    for (option, value, message) in [
        ("--runner", "../../etc", "not a runner id"),
        ("--time-limit", "soon", "not a time limit; write it as for Slurm's --time"),
        ("--idle-exit", "soon", "invalid value 'soon' for '--idle-exit"),
    ] {
        let output = runner().arg("serve").arg("--root").arg(tree.root.path()).args([option, value]).output();
        let output = output.expect("the runner starts");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && complaint.contains(message), "{complaint}");
    }
    assert_eq!(fs::read_dir(tree.root.runners()).expect("a listing").count(), 0);
}
