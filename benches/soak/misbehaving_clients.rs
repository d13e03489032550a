//! Clients that disconnect at any stage.

use std::{fmt::Write, io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::sleep,
};

use crate::plan::{NONCE, Plan, Stage};

/// Sends a request up to this stage, and disconnects.
pub(crate) async fn disconnect(
    proxy: SocketAddr,
    plan: &Plan,
    stage: Stage,
    by_reset: bool,
) -> io::Result<()> {
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
    let mut stream = TcpStream::connect(proxy).await?;
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&plan.sent_at(stage)).await?;
    if stage == Stage::InResponse {
        // Less than its head.
        stream.read_exact(&mut [0; 200]).await?;
    } else {
        // Lets the proxy receive it before the end.
        sleep(Duration::from_millis(20)).await;
    }
    if by_reset {
        stream.set_zero_linger()?;
    }
    Ok(())
}
