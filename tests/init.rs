//! `init`: the plan that it writes deploys an application that it has never seen, and takes a bad version back.

use std::fs;

use crate::support::workspace::Workspace;
use crate::support::{free_port, http};

/// Stops what a test deployed, whatever becomes of the test.
struct Stopped<'a> {
    workspace: &'a Workspace,
    port: u16,
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        self.workspace.write(
            "stop.toml",
            &format!(
                "format = 1\n[plan]\nname = 'stop'\n[steps.stop]\nuses = 'stop-service'\ncompensate = 'none'\n\
                 with = {{ port = {}, signal = 'INT', expect = ['shop'] }}\n",
                self.port
            ),
        );
        let _ = self.workspace.say(&["apply", "stop.toml", "--progress", "quiet"]);
    }
}

/// pip fetches Flask and Waitress, once: that takes more than five seconds.
#[test]
fn a_flask_application_is_deployed_and_a_version_that_fails_is_taken_back() {
    let workspace = Workspace::new();
    let port = free_port();
    fs::create_dir(workspace.path("my shop")).unwrap();
    workspace.write("my shop/requirements.txt", "flask\nwaitress\n");
    let version = |code: &str| {
        workspace.write(
            "my shop/app.py",
            &format!("from flask import Flask\n\napp = Flask(__name__)\n\n@app.get('/')\ndef home():\n    {code}\n"),
        );
    };
    version("return 'version 1'");
    let said = workspace.say(&["init", "my shop", "--port", &port.to_string(), "--yes"]).expect(0);
    assert!(said.stdout.contains("Flask") && said.stdout.contains("flask-waitress"), "{}", said.all());
    let again = workspace.say(&["init", "my shop", "--yes"]).expect(2);
    assert!(again.all().contains("there already"), "{}", again.all());

    let _stopped = Stopped { workspace: &workspace, port };
    let plan = "my shop/plans/production.toml";
    workspace.say(&["check", plan]).expect(0);
    workspace.say(&["apply", plan, "--progress", "plain"]).expect(0);
    assert_eq!(http(port, "GET", "/", "", "").unwrap(), (200, "version 1".to_owned()));

    version("return 'version 2', 500");
    let failed = workspace.say(&["apply", plan, "--progress", "plain", "--var", "health=/"]);
    failed.expect(3);
    assert_eq!(http(port, "GET", "/", "", "").unwrap(), (200, "version 1".to_owned()));
    assert!(fs::read_to_string(workspace.path("my shop-production/app.py")).unwrap().contains("version 1"));
}

#[test]
fn a_static_site_is_deployed() {
    let workspace = Workspace::new();
    let port = free_port().to_string();
    fs::create_dir(workspace.path("shop")).unwrap();
    workspace.write("shop/index.html", "hello");
    workspace.say(&["init", "shop", "--port", &port, "--yes", "--lang", "pt-BR"]).expect(0);
    let port = port.parse().unwrap();
    let _stopped = Stopped { workspace: &workspace, port };
    workspace.say(&["apply", "shop/plans/production.toml", "--progress", "plain"]).expect(0);
    assert_eq!(http(port, "GET", "/", "", "").unwrap(), (200, "hello".to_owned()));
}

#[test]
fn what_is_no_application_is_refused_and_nothing_is_written() {
    let workspace = Workspace::new();
    workspace.say(&["init", "--yes"]).expect(2);
    assert!(!workspace.path("plans").exists());
}
