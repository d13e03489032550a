//! A TCP proxy that delays, cuts, resets and corrupts responses.

use std::{future, io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::client::TIMEOUT;

/// A fault of a connection. Offsets count the bytes of its responses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    None,
    /// Accepts the connection and closes it at once.
    Close,
    /// Delays the first byte.
    Delay(Duration),
    /// Sends each byte by itself.
    ByteByByte,
    /// Sends small pieces with pauses.
    Throttle,
    /// Closes the connection after this many bytes; if there are any, once the test
    /// [allows](Link::allow) it.
    Cut(usize),
    /// Resets the connection, likewise.
    Reset(usize),
    /// Sends nothing after this many bytes.
    Stall(usize),
    /// Flips a bit of this byte.
    Corrupt(usize),
    /// Closes the connection when a second request arrives.
    CloseOnSecondRequest,
}

/// A proxy in front of a server, until it is dropped.
pub struct Link {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    closing: watch::Sender<()>,
    closed: Arc<Semaphore>,
    allowed: Arc<Semaphore>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts a proxy for this server.
    pub async fn to(server: SocketAddr, fault: Fault) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (fault, faults) = watch::channel(fault);
        let (closing, closings) = watch::channel(());
        let (closed, allowed) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let (to_closed, to_allowed) = (Arc::clone(&closed), Arc::clone(&allowed));
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let fault = *faults.borrow();
                if fault == Fault::Close {
                    continue;
                }
                let (closed, allowed) = (Arc::clone(&to_closed), Arc::clone(&to_allowed));
                let mut closings = closings.clone();
                closings.mark_unchanged();
                connections.spawn(async move {
                    // Disconnects are not errors here.
                    if let Ok(mut connection) =
                        Connection::new(client, server, fault, allowed).await
                    {
                        let to_close = async { closings.changed().await.is_ok() };
                        if connection.pass(to_close).await {
                            connection.close().await.ok();
                            closed.add_permits(1);
                        }
                    }
                });
            }
        });
        Self {
            address,
            fault,
            closing,
            closed,
            allowed,
            task,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets the fault of new connections.
    pub fn fault(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Allows a connection to end, after the client has received the bytes before it.
    pub fn allow(&self) {
        // One for the link and one for the server behind it.
        self.allowed.add_permits(2);
    }

    /// Returns the semaphore to which [`allow`](Self::allow) adds permits.
    pub fn allowed(&self) -> Arc<Semaphore> {
        Arc::clone(&self.allowed)
    }

    /// Closes the only connection, and waits until the other side has closed it too.
    pub async fn close_idle(&self) {
        self.closing.send_replace(());
        let closed = timeout(TIMEOUT, self.closed.acquire()).await;
        closed.expect("a close in time").unwrap().forget();
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Connection {
    client: (OwnedReadHalf, OwnedWriteHalf),
    server: (OwnedReadHalf, OwnedWriteHalf),
    fault: Fault,
    allowed: Arc<Semaphore>,
}

impl Connection {
    async fn new(
        client: TcpStream,
        server: SocketAddr,
        fault: Fault,
        allowed: Arc<Semaphore>,
    ) -> io::Result<Self> {
        let server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Self {
            client: client.into_split(),
            server: server.into_split(),
            fault,
            allowed,
        })
    }

    /// Forwards both directions until the end or until `to_close` completes. Returns
    /// whether to close the connection.
    async fn pass(&mut self, to_close: impl Future<Output = bool>) -> bool {
        let (has_response, responses) = watch::channel(false);
        let fault = self.fault;
        let requests = async {
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = self.client.0.read(&mut buffer).await {
                if fault == Fault::CloseOnSecondRequest && *responses.borrow() {
                    return;
                }
                if self.server.1.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            // The response may still follow.
            self.server.1.shutdown().await.ok();
            future::pending().await
        };
        let responses = async {
            let mut response = Response {
                fault,
                to: &mut self.client.1,
                passed: 0,
                allowed: &self.allowed,
            };
            let mut buffer = vec![0; 16 * 1024];
            while let Ok(count @ 1..) = self.server.0.read(&mut buffer).await {
                has_response.send_replace(true);
                if !matches!(response.pass(&mut buffer[..count]).await, Ok(true)) {
                    return;
                }
            }
        };
        tokio::select! {
            () = requests => false,
            () = responses => false,
            is_to_close = to_close => is_to_close,
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        self.client.1.shutdown().await?;
        while self.client.0.read(&mut [0; 1024]).await? > 0 {}
        Ok(())
    }
}

struct Response<'a> {
    fault: Fault,
    to: &'a mut OwnedWriteHalf,
    passed: usize,
    allowed: &'a Semaphore,
}

impl Response<'_> {
    /// Forwards a piece. Returns whether more may follow.
    async fn pass(&mut self, piece: &mut [u8]) -> io::Result<bool> {
        let start = self.passed;
        self.passed += piece.len();
        match self.fault {
            Fault::None | Fault::Close | Fault::CloseOnSecondRequest => {}
            Fault::Delay(time) if start == 0 => sleep(time).await,
            Fault::Delay(_) => {}
            Fault::ByteByByte => {
                for byte in piece {
                    self.to.write_all(&[*byte]).await?;
                    tokio::task::yield_now().await;
                }
                return Ok(true);
            }
            Fault::Throttle => {
                for part in piece.chunks(20) {
                    self.to.write_all(part).await?;
                    sleep(Duration::from_millis(20)).await;
                }
                return Ok(true);
            }
            Fault::Corrupt(at) => {
                if let Some(byte) = at.checked_sub(start).and_then(|at| piece.get_mut(at)) {
                    *byte ^= 0x40;
                }
            }
            Fault::Cut(at) | Fault::Reset(at) | Fault::Stall(at) => {
                let left = at - start;
                if left <= piece.len() {
                    self.to.write_all(&piece[..left]).await?;
                    self.end().await?;
                    return Ok(false);
                }
            }
        }
        self.to.write_all(piece).await?;
        Ok(true)
    }

    async fn end(&mut self) -> io::Result<()> {
        match self.fault {
            Fault::Stall(_) => return future::pending().await,
            Fault::Cut(0) | Fault::Reset(0) => {}
            _ => self
                .allowed
                .acquire()
                .await
                .map_err(io::Error::other)?
                .forget(),
        }
        if let Fault::Reset(_) = self.fault {
            self.to.as_ref().set_zero_linger()?;
        }
        Ok(())
    }
}
