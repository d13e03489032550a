//! Clients that go away, or do not go on.

use std::{fmt::Write, io, net::SocketAddr};

use http::{HeaderName, StatusCode};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};
use tower_model_routing::BoxError;

use crate::{
    client::Answer,
    plan::{NONCE, Plan, Stage},
    support::wire::{Head, Payload},
};

/// Goes as far as that, and goes away.
pub(crate) async fn hang_up(
    proxy: SocketAddr,
    plan: &Plan,
    stage: Stage,
    by_reset: bool,
) -> io::Result<()> {
    let mut stream = begin(proxy, plan, stage).await?;
    if stage == Stage::InAnswer {
        // Less than its head.
        stream.read_exact(&mut [0; 200]).await?;
    } else {
        // So that it is received before the end is.
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    if by_reset {
        stream.set_zero_linger()?;
    }
    Ok(())
}

/// Goes as far as that, and waits for what comes of it.
pub(crate) async fn stall(
    proxy: SocketAddr,
    plan: &Plan,
    stage: Stage,
) -> Result<Answer, BoxError> {
    let mut stream = BufReader::new(begin(proxy, plan, stage).await?);
    let head = Head::read(&mut stream).await?;
    let head = head.ok_or("the connection ended before an answer")?;
    let payload = Payload::read(&mut stream, &head, true, usize::MAX).await;
    let mut answer = Answer {
        status: StatusCode::from_bytes(head.word(1).as_bytes())?,
        headers: Default::default(),
        body: payload.bytes,
        is_whole: payload.is_complete,
    };
    for (name, value) in &head.headers {
        let name: HeaderName = name.parse()?;
        answer.headers.insert(name, value.parse()?);
    }
    Ok(answer)
}

async fn begin(proxy: SocketAddr, plan: &Plan, stage: Stage) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect(proxy).await?;
    let mut head = format!(
        "POST {} HTTP/1.1\r\nhost: soak\r\n{NONCE}: {}\r\ncontent-length: {}\r\n",
        plan.path,
        plan.nonce,
        plan.body.len()
    );
    for (name, value) in &plan.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    if stage != Stage::Head {
        head += "\r\n";
    }
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&plan.sent_at(stage)).await?;
    Ok(stream)
}
