//! Runs that are killed, interrupted or run out of disk space: resumed, they end in the same bytes
//! as an undisturbed run.

use crate::common::{empty_folder, polychron, text};
use safetensors::SafeTensors;
use serde_json::Value;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Kills at random moments.
const KILLS: usize = 20;
/// Kills while a file is being written.
const KILLS_IN_WRITES: usize = 3;
/// Interrupts within an epoch.
const INTERRUPTS: usize = 3;
const RUN: [&str; 15] = [
    "train",
    "--preset",
    "order",
    "--epochs",
    "6",
    "--set",
    "network.hidden=[24]",
    "--set",
    "network.max_delay=6",
    "--set",
    "data.valid=0.6",
    "--set",
    "train.select=valid",
    "--out",
    "run",
];
const RESUME: [&str; 4] = ["train", "--resume", "--out", "run"];

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        Self(empty_folder(&format!("interrupted-{name}")))
    }

    fn command(&self, args: &[&str]) -> Command {
        polychron(&self.0, args)
    }

    /// Starts the run, or resumes it if its folder exists.
    fn start(&self) -> Child {
        let args = if self.0.join("run").exists() { &RESUME[..] } else { &RUN };
        self.command(args).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts or resumes the run and waits until it has written a checkpoint.
    fn start_training(&self) -> Child {
        let written =
            || fs::metadata(self.0.join("run/checkpoint.safetensors")).ok()?.modified().ok();
        let before = written();
        let mut child = self.start();
        while written() == before && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        child
    }

    fn finish(&self) {
        let output = self.start().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
    }

    /// The files of a run that do not depend on the time, and the names of all files.
    fn results(&self) -> ([Vec<u8>; 4], Vec<String>) {
        let files = ["checkpoint.safetensors", "model.safetensors", "config.toml", "delays.svg"];
        let mut all = names(&self.0.join("run"));
        all.sort();
        (files.map(|file| fs::read(self.0.join("run").join(file)).unwrap()), all)
    }

    /// The losses and the accuracies of every epoch.
    fn curves(&self) -> Vec<[Value; 4]> {
        let read = |name| fs::read_to_string(self.0.join("run").join(name)).unwrap();
        let report: Value = serde_json::from_str(&read("report.json")).unwrap();
        let lines = read("curves.jsonl");
        let lines = lines.lines().map(|line| serde_json::from_str(line).unwrap());
        let lines = lines.collect::<Vec<Value>>();
        assert_eq!(report["curves"].as_array(), Some(&lines));
        let of = |epoch: &Value| {
            ["loss", "train_accuracy", "valid_accuracy", "valid_loss"].map(|key| epoch[key].clone())
        };
        lines.iter().map(of).collect()
    }

    fn unfinished(&self) -> bool {
        let all = [names(&self.0), names(&self.0.join("run"))].concat();
        all.iter().any(|name| name.ends_with(".tmp"))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    files.map(|f| f.unwrap().file_name().into_string().unwrap()).collect()
}

/// Draws a number below `limit`.
fn random(limit: u64) -> u64 {
    RandomState::new().hash_one(0) % limit.max(1)
}

#[test]
fn a_run_killed_at_random_moments_ends_in_the_same_bytes() {
    let (whole, cut) = (Folder::new("whole"), Folder::new("killed"));
    let start = Instant::now();
    whole.finish();
    let micros = start.elapsed().as_micros() as u64;
    let (mut kills, mut writing) = (0, 0);
    while kills < KILLS {
        let mut child = cut.start();
        std::thread::sleep(Duration::from_micros(random(micros / 2)));
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", text(&output.stderr));
            assert!(cut.results() == whole.results() && cut.curves() == whole.curves());
            fs::remove_dir_all(cut.0.join("run")).unwrap();
            continue;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        writing += usize::from(cut.unfinished());
    }
    cut.finish();
    assert!(cut.results() == whole.results() && cut.curves() == whole.curves());
    assert!(!cut.unfinished());
    eprintln!("{kills} kills, {writing} of them during a write");
}

/// Repeats the run until it has been killed during a write often enough.
#[test]
fn a_run_killed_during_a_write_keeps_its_last_checkpoint() {
    let (whole, cut) = (Folder::new("written"), Folder::new("writing"));
    whole.finish();
    let mut writing = 0;
    while writing < KILLS_IN_WRITES {
        let mut child = cut.start();
        let met = loop {
            if cut.unfinished() {
                break true;
            }
            if child.try_wait().unwrap().is_some() {
                break false;
            }
        };
        child.kill().unwrap();
        child.wait().unwrap();
        writing += usize::from(met && cut.unfinished());
        if !met {
            assert!(cut.results() == whole.results());
            fs::remove_dir_all(cut.0.join("run")).unwrap();
        }
    }
    cut.finish();
    assert!(cut.results() == whole.results() && cut.curves() == whole.curves());
}

/// `true` if this process ignores SIGINT, as background jobs do. Its children then ignore it, too.
fn ignores_int() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.is_some_and(|mask| u64::from_str_radix(mask.trim(), 16).unwrap() & 0b10 != 0)
}

fn signal(child: Child, name: &str) -> Output {
    let sent = Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    child.wait_with_output().unwrap()
}

fn step(folder: &Folder) -> (u64, u64) {
    let bytes = fs::read(folder.0.join("run/checkpoint.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let of_run: Value =
        serde_json::from_str(&header.metadata().as_ref().unwrap()["polychron"]).unwrap();
    (of_run["epoch"].as_u64().unwrap(), of_run["step"].as_u64().unwrap())
}

#[test]
fn a_run_interrupted_within_an_epoch_resumes_at_that_step() {
    let (whole, cut) = (Folder::new("left-alone"), Folder::new("signalled"));
    whole.finish();
    let (epochs, steps) = step(&whole);
    let (mut within, mut asked) = (0, 0);
    let names = if ignores_int() { ["-TERM"; 2] } else { ["-INT", "-TERM"] };
    if ignores_int() {
        eprintln!("skipped: SIGINT, which is ignored here");
    }
    while within < INTERRUPTS {
        let child = cut.start_training();
        std::thread::sleep(Duration::from_millis(random(100)));
        let output = signal(child, names[asked % 2]);
        asked += 1;
        assert!(asked < 100, "no signal arrived within an epoch");
        let errors = text(&output.stderr);
        if output.status.success() {
            assert!(cut.results() == whole.results() && cut.curves() == whole.curves());
            fs::remove_dir_all(cut.0.join("run")).unwrap();
            continue;
        }
        if output.status.code().is_none() {
            // The signal arrived before the handler was installed, right after the checkpoint.
            continue;
        }
        assert_eq!(output.status.code(), Some(130), "{errors}");
        let (epoch, at) = step(&cut);
        let line = format!(
            "run: interrupted in epoch {}, after step {at}; continue with train --resume --out run",
            epoch + 1
        );
        assert!(errors.lines().any(|found| found == line), "{errors}");
        within += usize::from(at != epoch * steps / epochs);
    }
    cut.finish();
    assert!(cut.results() == whole.results() && cut.curves() == whole.curves());
}

#[test]
fn ignored_signals_stay_ignored() {
    let (whole, cut) = (Folder::new("undisturbed"), Folder::new("background"));
    whole.finish();
    let script = "trap '' HUP INT; exec \"$@\"";
    let mut command = Command::new("sh");
    command.current_dir(&cut.0).args(["-c", script, "sh", env!("CARGO_BIN_EXE_polychron")]);
    let mut child = command.args(RUN).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while !cut.0.join("run/report.json").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    for name in ["-HUP", "-INT"] {
        Command::new("kill").args([name, &child.id().to_string()]).status().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(cut.results() == whole.results());
}

#[test]
fn a_second_process_is_locked_out() {
    let (whole, shared) = (Folder::new("alone"), Folder::new("shared"));
    whole.finish();
    let child = shared.start_training();
    let output = shared.start().wait_with_output().unwrap();
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let line = "error: run/config.toml: locked by another process\n";
    assert!(errors == line, "{errors}");
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(shared.results() == whole.results() && shared.curves() == whole.curves());

    // Files that another process may still change are not read.
    fs::write(shared.0.join("run/checkpoint.safetensors"), "half").unwrap();
    fs::remove_file(shared.0.join("run/report.json")).unwrap();
    let held = fs::File::open(shared.0.join("run/config.toml")).unwrap();
    held.lock().unwrap();
    let output = shared.start().wait_with_output().unwrap();
    assert_eq!(text(&output.stderr), line);
}

/// A run's folder may contain a symbolic link with the name of a temporary file.
#[test]
fn writes_do_not_follow_links() {
    let folder = Folder::new("link");
    fs::write(folder.0.join("victim"), "safe").unwrap();
    let begun = folder.command(&RUN).args(["--stop-after", "1"]).output().unwrap();
    assert!(begun.status.success(), "{}", text(&begun.stderr));
    let link = folder.0.join("run/.checkpoint.safetensors.tmp");
    std::os::unix::fs::symlink("../victim", link).unwrap();
    folder.finish();
    assert_eq!(fs::read(folder.0.join("victim")).unwrap(), b"safe");
    assert!(!folder.unfinished());
}

/// Uses a separate file system that is first too small for another checkpoint, then read-only, then
/// large enough.
#[cfg(target_os = "linux")]
#[test]
fn a_full_or_read_only_disk_keeps_the_last_checkpoint() {
    let (whole, cut) = (Folder::new("enough"), Folder::new("space"));
    whole.finish();
    let script = r#"
        set -e
        mkdir disk
        mount -t tmpfs -o size=1m none disk
        cd disk
        "$@" --stop-after 2
        cp -r run before
        head -c 1m /dev/zero > filling 2> ../filling.txt || true
        truncate -s -12k filling
        go_on() { "$0" train --resume --out run; }
        if go_on 2> full.txt; then exit 3; fi
        cmp run/checkpoint.safetensors before/checkpoint.safetensors
        ls -A run | grep tmp && exit 4
        mount -o remount,ro .
        if go_on 2> ../read-only.txt; then exit 5; fi
        mount -o remount,rw .
        cmp run/checkpoint.safetensors before/checkpoint.safetensors
        cp full.txt ..
        rm filling
        go_on
        cp -r run ..
    "#;
    let unshared = |script| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount", "sh", "-c", script]);
        command.current_dir(&cut.0);
        command
    };
    let probe = unshared("mount -t tmpfs -o size=1m none . && mount -o remount,ro .").output();
    if !probe.is_ok_and(|probe| probe.status.success()) {
        eprintln!("skipped: no file system can be mounted here");
        return;
    }
    let polychron = env!("CARGO_BIN_EXE_polychron");
    let output = unshared(script).args([polychron; 2]).args(RUN).output().unwrap();
    let errors = text(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", output.status);
    for (file, problem) in [("full.txt", "No space left"), ("read-only.txt", "Read-only")] {
        let said = text(&fs::read(cut.0.join(file)).unwrap());
        let lines: Vec<_> = said
            .lines()
            .filter(|line| !line.starts_with("epoch ") && !line.ends_with(" steps an epoch"))
            .collect();
        assert_eq!(lines.len(), 1, "{said}");
        assert!(lines[0].starts_with("error: run/checkpoint.safetensors: "), "{said}");
        assert!(lines[0].contains(problem), "{said}");
    }
    assert!(cut.results() == whole.results() && cut.curves() == whole.curves());
}
