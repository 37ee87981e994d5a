//! The matrix's function (see tests/official/test_matrix.py) on AWS's own Rust client.
use lambda_runtime::{run, service_fn, Error, LambdaEvent};
use serde_json::{json, Value};
use std::{env, fs, process, thread, time::Duration};

async fn handler(event: LambdaEvent<Value>) -> Result<Value, Error> {
    let (wanted, context) = event.into_parts();
    Ok(match wanted["do"].as_str().unwrap_or("") {
        "error" => return Err("boom".into()),
        "sleep" => {
            thread::sleep(Duration::from_secs(20));
            Value::Null
        }
        "memory" => {
            let mut held: Vec<Vec<u8>> = Vec::new();
            loop {
                held.push(vec![1; 16 << 20]);
            }
        }
        "exit" => process::exit(3),
        "large" => json!("x".repeat(7 << 20)),
        "env" => json!(env::var("COLOUR")?),
        "layer" => json!(fs::read_to_string("/opt/marker.txt")?),
        "tmp" => {
            let before = fs::read_to_string("/tmp/kept").unwrap_or_default();
            fs::write("/tmp/kept", format!("{before}x"))?;
            json!(before.len())
        }
        "child" => json!(String::from_utf8(process::Command::new("/bin/sh").args(["-c", "echo $COLOUR; pwd"]).output()?.stdout)?),
        "context" => json!({
            "id": context.request_id,
            "arn": context.invoked_function_arn,
            "name": env::var("AWS_LAMBDA_FUNCTION_NAME")?,
            "memory": env::var("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")?,
            "left": context.deadline > 0,
        }),
        _ => wanted,
    })
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    run(service_fn(handler)).await
}
