//! As much of HTTP/1.1 as the hub of the tests needs: one request a connection.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// A request.
pub struct Question {
    pub method: String,
    pub path: String,
    headers: Vec<(String, String)>,
}

/// A response.
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    content: Vec<u8>,
    /// After how many bytes it ends early, and whether the connection stays then.
    cut: Option<(usize, bool)>,
}

impl Question {
    pub fn header(&self, name: &str) -> Option<String> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    }

    fn read(stream: &TcpStream) -> Option<Self> {
        let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
        let first = lines.next()?;
        let mut words = first.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let headers = lines.take_while(|line| !line.is_empty()).filter_map(|line| {
            line.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()))
        });
        Some(Self { method, path, headers: headers.collect() })
    }
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), content: Vec::new(), cut: None }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn content(mut self, content: Vec<u8>) -> Self {
        self.content = content;
        self
    }

    pub fn cut(mut self, count: usize, stays: bool) -> Self {
        self.cut = Some((count, stays));
        self
    }

    fn write(self, mut stream: TcpStream, with_content: bool) {
        let Self { status, headers, mut content, cut } = self;
        let length = content.len();
        let mut head = format!("HTTP/1.1 {status} Status\r\nContent-Length: {length}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        if let Some((count, _)) = cut {
            content.truncate(count);
        }
        // A client that is killed does not read to the end.
        let _ = stream.write_all(head.as_bytes());
        if with_content {
            let _ = stream.write_all(&content);
        }
        if let Some((_, true)) = cut {
            // Until the other side goes away.
            let _ = stream.set_read_timeout(Some(Duration::from_secs(300)));
            let _ = stream.read(&mut [0]);
        }
    }
}

/// Answers until the process ends.
pub fn serve(listener: &TcpListener, answer: &(impl Fn(&Question) -> Answer + Sync)) {
    thread::scope(|scope| {
        for stream in listener.incoming().map_while(Result::ok) {
            scope.spawn(move || {
                if let Some(question) = Question::read(&stream) {
                    answer(&question).write(stream, question.method != "HEAD");
                }
            });
        }
    });
}
