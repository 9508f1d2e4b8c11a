//! The admin API over the unix socket of a data directory: the local root.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::net::UnixStream;

use crate::client::{Answer, Connection};

/// A client of one control.
#[derive(Clone)]
pub struct Api {
    socket: PathBuf,
}

impl Api {
    /// The control that owns this data directory.
    pub fn of(data: &Path) -> Self {
        Self { socket: data.join("control.sock") }
    }

    /// One call; the answer whatever its status.
    pub async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.call_with(method, path, &[], body).await
    }

    /// One call with header fields.
    pub async fn call_with(
        &self,
        method: &str,
        path: &str,
        fields: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        let mut connection = Connection::over(stream);
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n", body.len());
        for (name, value) in fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            head.push_str("Content-Type: application/json\r\n");
        }
        connection.send(format!("{head}\r\n{body}").as_bytes()).await.unwrap();
        connection.answer(false).await.unwrap()
    }

    /// `GET`, wanting 200.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.call("GET", path, None).await;
        assert_eq!(answer.status, 200, "GET {path}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// `POST`, wanting 201.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        let answer = self.call("POST", path, Some(&body)).await;
        assert_eq!(answer.status, 201, "POST {path} {body}: {}", answer.text());
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// `DELETE`, wanting success.
    pub async fn delete(&self, path: &str) {
        let answer = self.call("DELETE", path, None).await;
        assert!(answer.status == 204 || answer.status == 200, "DELETE {path}: {}", answer.text());
    }

    /// Creates a route and gives its id.
    pub async fn route(&self, host: &str, target: &str) -> String {
        let body = serde_json::json!({ "host": host, "target": target });
        self.post("/api/v1/routes", body).await["id"].as_str().unwrap().to_owned()
    }
}
