//! `GET /jobs`: the operator's list, and hostile ids in every route below it.

use std::sync::Arc;

use livewebcam_jobs::{JobId, Status};

use crate::site::Site;
use crate::tree::Tree;

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_list_says_so() {
    let site = Site::start().await;
    let page = site.inspect("/jobs").await.expect(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(page.header("cache-control"), "no-store");
    assert!(page.text().contains("No frame yet") && !page.text().contains("class=\"pager\""));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_listed_newest_first_page_by_page() {
    let tree = Arc::new(Tree::new());
    let mut ids: Vec<JobId> = (0..50)
        .map(|n| {
            let id = tree.stage(|request| request.parameters.prompt = format!("prompt number {n} of the list"));
            tree.conclude(id, if n % 2 == 0 { Status::Done } else { Status::Failed });
            id
        })
        .collect();
    ids.reverse();
    let site = Site::on(tree, |_| {}).await;
    let listed = async |path: &str| {
        let page = site.inspect(path).await.expect(200).text().to_owned();
        let links = page.split("href=\"/jobs/").skip(1);
        let found: Vec<JobId> = links.filter_map(|rest| rest.split('"').next()?.parse().ok()).collect();
        (found, page)
    };
    let (found, page) = listed("/jobs").await;
    assert_eq!(found, ids[..24]);
    assert!(page.contains("50 kept, newest first") && page.contains("Page 1 of 3"));
    assert!(page.contains("href=\"/jobs?page=2\"") && !page.contains("rel=\"prev\""));
    assert!(page.contains("state-done") && page.contains("state-failed") && page.contains("the model refuses"));
    assert!(page.contains("prompt number 49 of the list") && page.contains("100 ms"));
    assert!(page.contains(&format!("/jobs/{}/input.png?thumb=1", ids[0])), "no thumbnails");
    assert!(!page.contains(&format!("/jobs/{}/output.png", ids[0])), "a failed job has no painting to show");
    assert!(page.contains(&format!("/jobs/{}/output.png?thumb=1", ids[1])));
    assert_eq!(listed("/jobs?page=2").await.0, ids[24..48]);
    let (found, page) = listed("/jobs?page=3").await;
    assert_eq!(found, ids[48..]);
    assert!(page.contains("href=\"/jobs?page=2\"") && !page.contains("rel=\"next\""));
    let failed: Vec<JobId> = ids.iter().copied().step_by(2).collect();
    let (found, page) = listed("/jobs?state=failed&model=starter").await;
    assert_eq!(found, failed[..24]);
    assert!(page.contains("href=\"/jobs?page=2&amp;state=failed&amp;model=starter\""), "the next page shows others");
    assert_eq!(listed("/jobs?page=2&state=failed").await.0, failed[24..]);
    let (found, page) = listed("/jobs?state=running").await;
    assert!(found.is_empty() && page.contains("No such job"));
    assert_eq!(listed("/jobs?state=nonsense&model=..").await.0, ids[..24], "an old address shows nothing");
    for beyond in ["/jobs?page=4", "/jobs?page=18446744073709551615"] {
        let (found, page) = listed(beyond).await;
        assert!(found.is_empty() && page.contains("Nothing on this page"), "{beyond}");
    }
    for page in ["0", "-1", "x", "1.5", "", "99999999999999999999999"] {
        let error = site.inspect(&format!("/jobs?page={page}")).await.expect(400).error();
        assert_eq!(error, "the page is no positive number");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_no_job_is_not_listed() {
    let tree = Arc::new(Tree::new());
    let id = tree.stage(|_| {});
    tree.conclude(id, Status::Done);
    std::fs::create_dir(tree.root.jobs().join("<script>alert(1)<")).expect("a folder");
    std::fs::write(tree.root.jobs().join(JobId::new().to_string()), "a file").expect("a file");
    std::os::unix::fs::symlink("/etc", tree.root.jobs().join(JobId::new().to_string())).expect("a link");
    let site = Site::on(tree, |_| {}).await;
    let page = site.inspect("/jobs").await.expect(200);
    assert!(page.text().contains("1 kept") && !page.text().contains("<script>alert"));
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_id_leads_out_of_the_jobs() {
    let site = Site::start().await;
    let id = site.paint().await.expect(200).job();
    let hostile = [
        "..".to_owned(),
        "../../../../etc/passwd".to_owned(),
        "..%2f..%2f..%2fetc%2fpasswd".to_owned(),
        "%2e%2e".to_owned(),
        "%2e%2e%2fbin".to_owned(),
        ".".to_owned(),
        "%00".to_owned(),
        format!("{id}%00"),
        format!("{id}%2f..%2f{id}"),
        format!("{id}%0a"),
        format!("%20{id}"),
        id.to_string().to_uppercase(),
        id.to_string().replace('-', ""),
        format!("%7b{id}%7d"),
        format!(".removed-{id}"),
        "$(reboot)".to_owned(),
        "%3cscript%3e".to_owned(),
        "x".repeat(4000),
    ];
    for hostile in &hostile {
        for (method, target) in [
            ("GET", format!("/jobs/{hostile}")),
            ("DELETE", format!("/jobs/{hostile}")),
            ("GET", format!("/jobs/{hostile}/input.png")),
            ("GET", format!("/jobs/{hostile}/output.png?thumb=1")),
        ] {
            let status = site.raw_status(method, &target).await;
            assert_eq!(status, 404, "{method} {target}");
        }
    }
    for file in ["request.json", "result.json", "slurm.log", "claim.png", "..%2finput.png", "input.png%00", ".png", ""]
    {
        assert_eq!(site.raw_status("GET", &format!("/jobs/{id}/{file}")).await, 404, "{file}");
    }
    let nobodys = site.inspect(&format!("/jobs/{}", JobId::new())).await.expect(404);
    assert!(nobodys.error().contains("there is no such job"));
    assert!(site.inspect("/jobs/x").await.expect(404).error().contains("a job id is a UUID in lower case"));
    site.stop().await;
}
