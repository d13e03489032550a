//! The server behind the proxies. It writes what it is told, in the writes it
//! is told.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader, copy_buf, sink},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::scenario::Play;

pub(crate) const ID: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";

/// The models by name, with their IDs. The first is what scenarios ask for.
pub(crate) const MODELS: [(&str, &str); 2] = [
    ("venice-uncensored", ID),
    (
        "mistral-31-24b",
        "0x8f4e0d4f4b7e0b9f1d2c3a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f",
    ),
];

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stage: Arc<Stage>,
}

#[derive(Default)]
struct Stage {
    current: Mutex<Option<Arc<Current>>>,
    kept: Mutex<Option<Received>>,
}

/// What is answered now.
struct Current {
    play: Arc<Play>,
    received: Semaphore,
}

/// A request that was kept.
pub(crate) struct Received {
    pub(crate) content_length: Option<u64>,
    pub(crate) body: Vec<u8>,
}

impl Upstream {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stage = Arc::new(Stage::default());
        let this = Self {
            address,
            stage: Arc::clone(&stage),
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stage = Arc::clone(&stage);
                // A proxy that goes away is no concern here.
                tokio::spawn(async move { stage.serve(stream).await.ok() });
            }
        });
        Ok(this)
    }

    /// Answers this from now on. Answers that have begun end where they are, at
    /// the latest when they would wait for the client.
    pub(crate) fn set(&self, play: Arc<Play>) {
        let current = Arc::new(Current {
            play,
            received: Semaphore::new(0),
        });
        if let Some(former) = lock(&self.stage.current).replace(current) {
            former.received.close();
        }
    }

    /// Tells that the client has received so many more events.
    pub(crate) fn received(&self, events: usize) {
        if let Some(current) = &*lock(&self.stage.current) {
            current.received.add_permits(events);
        }
    }

    /// The last request that has come whole since this was asked.
    pub(crate) fn take(&self) -> Option<Received> {
        lock(&self.stage.kept).take()
    }
}

/// How many events end in this.
pub(crate) fn events(data: &[u8]) -> usize {
    data.windows(2).filter(|it| it == b"\n\n").count()
}

impl Stage {
    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::with_capacity(256 * 1024, stream);
        while let Some(head) = read_head(&mut stream).await? {
            if head.target == "/models" {
                let body = list();
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
                continue;
            }
            let current = lock(&self.current).clone();
            let Some(current) = current else {
                return Ok(());
            };
            let play = &current.play;
            if play.keeps {
                let mut body = Vec::new();
                read_body(&mut stream, head.content_length, &mut body).await?;
                *lock(&self.kept) = Some(Received {
                    content_length: head.content_length,
                    body,
                });
            } else {
                read_body(&mut stream, head.content_length, &mut sink()).await?;
            }
            for (index, piece) in play.pieces.iter().enumerate() {
                if play.one_by_one && index > 0 {
                    current.wait().await?;
                }
                stream.write_all(piece).await?;
            }
            if play.one_by_one {
                // The last event's end.
                current.wait().await?;
            }
        }
        Ok(())
    }
}

impl Current {
    /// Until the client has received one more event.
    async fn wait(&self) -> io::Result<()> {
        let permit = self.received.acquire().await;
        permit.map_err(io::Error::other)?.forget();
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn list() -> String {
    let entries = MODELS.map(|(name, id)| format!(r#"{{"Name":"{name}","Id":"{id}"}}"#));
    format!(r#"{{"models":[{}]}}"#, entries.join(","))
}

struct Head {
    target: String,
    /// None if the body comes in chunks.
    content_length: Option<u64>,
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Head>> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let mut words = line.split(' ');
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let mut head = Head {
        target: target.to_owned(),
        content_length: (method == "GET").then_some(0),
    };
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else {
            return Ok(Some(head));
        };
        if name.eq_ignore_ascii_case("content-length") {
            head.content_length = Some(value.trim().parse().map_err(io::Error::other)?);
        }
    }
}

async fn read_body(
    stream: &mut BufReader<TcpStream>,
    content_length: Option<u64>,
    body: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    if let Some(length) = content_length {
        return read(stream, length, body).await;
    }
    let mut line = String::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let size = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        read(stream, size, body).await?;
        // What ends a chunk, and the body.
        read(stream, 2, &mut sink()).await?;
        if size == 0 {
            return Ok(());
        }
    }
}

async fn read(
    stream: &mut BufReader<TcpStream>,
    length: u64,
    into: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    match copy_buf(&mut stream.take(length), into).await? {
        read if read == length => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
