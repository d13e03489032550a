//! The server behind the proxies. It writes what it is told, in the writes it
//! is told.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::scenario::Play;

pub(crate) const ID: &str = "0xb603e5c973fae19c86079a068abdc5c119c276e6117fb418a2248f6efd95612d";

pub(crate) struct Upstream {
    pub(crate) address: SocketAddr,
    stage: Arc<Stage>,
}

struct Stage {
    play: Mutex<Option<Arc<Play>>>,
    received: Semaphore,
}

impl Upstream {
    pub(crate) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stage = Arc::new(Stage {
            play: Mutex::default(),
            received: Semaphore::new(0),
        });
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

    /// Answers this from now on.
    pub(crate) fn set(&self, play: Arc<Play>) {
        *self.stage.play() = Some(play);
    }

    /// Tells that the client has received so many more events.
    pub(crate) fn received(&self, events: usize) {
        self.stage.received.add_permits(events);
    }
}

/// How many events end in this.
pub(crate) fn events(data: &[u8]) -> usize {
    data.windows(2).filter(|it| it == b"\n\n").count()
}

impl Stage {
    fn play(&self) -> std::sync::MutexGuard<'_, Option<Arc<Play>>> {
        self.play.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::with_capacity(256 * 1024, stream);
        while let Some(target) = receive(&mut stream).await? {
            if target == "/models" {
                let body = format!(r#"{{"models":[{{"Name":"venice-uncensored","Id":"{ID}"}}]}}"#);
                let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await?;
                continue;
            }
            let play = self.play().clone();
            let Some(play) = play else { return Ok(()) };
            for (index, piece) in play.pieces.iter().enumerate() {
                if play.one_by_one && index > 0 {
                    self.received
                        .acquire()
                        .await
                        .map_err(io::Error::other)?
                        .forget();
                }
                stream.write_all(piece).await?;
            }
            if play.one_by_one {
                // The last event's end.
                self.received
                    .acquire()
                    .await
                    .map_err(io::Error::other)?
                    .forget();
            }
        }
        Ok(())
    }
}

/// Reads a request; its target.
async fn receive(stream: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let Some(target) = line.split(' ').nth(1).map(str::to_owned) else {
        return Ok(None);
    };
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
    }
    tokio::io::copy_buf(&mut stream.take(length), &mut tokio::io::sink()).await?;
    Ok(Some(target))
}
