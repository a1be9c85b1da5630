"""The real tmpo-py against a running gateway, with a compaction and a kill -9 between its syncs.

Called by scripts/tmpo-py, which sees to Python, packages and a clock that runs fast: time goes SPEED
times as fast for the gateway, so that a block is closed every few seconds. Readings are compared with
what an MQTT client has heard and with the gateway's own history.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

import tmpo

SPEED = 64
WEB, MQTT, METER = 28480, 28483, 28483 + 5
BINARY, FAKETIME = sys.argv[1], sys.argv[2]
# A window of 2^16 s ends 4,000 s after the start, and with it one of 2^12 s.
BASE = (int(time.time()) - 10 * 86400) // 65536 * 65536 + 65536 - 4000
BEGIN = time.time()


def clock():
    """The gateway's time, Unix seconds."""
    return BASE + (time.time() - BEGIN) * SPEED


def wait_until(moment):
    while clock() < BASE + moment:
        time.sleep(0.1)


class Gateway:
    """The gateway's process, which may be killed and started again."""

    def __init__(self, folder):
        self.config = os.path.join(folder, "config.yaml")
        with open(self.config, "w") as file:
            file.write(
                f"data_dir: {folder}/data\n"
                f"broker: {{listen: 127.0.0.1:{MQTT}}}\n"
                f"web: {{listen: 127.0.0.1:{WEB}}}\n"
                f"history: {{grace: 10s}}\n"
                f"meters:\n  - {{name: house, kind: brultech, link: {{listen: 127.0.0.1:{METER}}}}}\n"
            )
        self.log = open(os.path.join(folder, "gateway.log"), "a")
        self.start()

    def start(self):
        stamp = time.strftime("@%Y-%m-%d %H:%M:%S", time.gmtime(clock()))
        env = dict(
            os.environ,
            TZ="UTC",
            LD_PRELOAD=FAKETIME,
            FAKETIME=f"{stamp} x{SPEED}",
            FAKETIME_DONT_FAKE_MONOTONIC="1",
            DONT_FAKE_MONOTONIC="1",
            NO_FAKE_STAT="1",
        )
        command = [BINARY, "run", "--config", self.config]
        self.process = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        for _ in range(100):
            try:
                return get("/healthz")
            except OSError:
                time.sleep(0.1)
        raise SystemExit("the gateway does not start: see " + self.log.name)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def get(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{WEB}{path}", timeout=10) as answer:
        return json.load(answer)


def listed(sid, token):
    query = f"rid=0&lvl=0&bid=0&version=1.0&token={token}"
    return [(block["lvl"], block["bid"]) for block in get(f"/sensor/{sid}/tmpo/sync?{query}")]


def check(name, series, sid, blocks):
    """Every reading once: as many as the gateway's history has up to the last block's end."""
    end = max(bid + 2**lvl for lvl, bid in blocks)
    path = f"/api/sensors/{sid}/history?resolution=raw&from={BASE - 86400}&to={end}"
    truth = [(at, round(value, 3)) for at, value in get(path)["readings"]]
    told = list(zip(series.index.astype("int64"), [round(value, 3) for value in series.values]))
    times = [at for at, _ in told]
    assert times == sorted(set(times)), f"{name}: a reading comes twice"
    assert told == truth, f"{name}: {len(told)} readings by tmpo-py, {len(truth)} in the history"
    levels = sorted({lvl for lvl, _ in blocks})
    print(f"{name}: {len(told)} readings, each once; blocks {len(blocks)} of levels {levels}")


def heard(path):
    """The readings that an MQTT client heard, and how much later each came than the one before."""
    with open(path) as file:
        return [json.loads(line)[:2] for line in file if line.strip()]


def main():
    folder = tempfile.mkdtemp(prefix="tmpo-py-")
    gateway = Gateway(folder)
    simulate = [BINARY, "simulate", "gem", "--connect", f"127.0.0.1:{METER}", "--interval", "1s"]
    meter = subprocess.Popen(simulate, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    listener = None
    try:
        sensors = []
        while not sensors:
            time.sleep(0.2)
            sensors = [one for one in get("/api/sensors") if one["quantity"] == "pplus"]
        sid, token = sensors[0]["id"], sensors[0]["token"]
        log = open(os.path.join(folder, "heard"), "w")
        topic = ["-t", f"/sensor/{sid}/counter"]
        listen = ["mosquitto_sub", "-h", "127.0.0.1", "-p", str(MQTT), "-i", "heard", "-c", "-q", "0"]
        listener = subprocess.Popen(listen + topic, stdout=log)

        tmpo.API_TMPO_SYNC = tmpo.API_TMPO_SYNC.replace("https", "http")
        tmpo.API_TMPO_BLOCK = tmpo.API_TMPO_BLOCK.replace("https", "http")
        session = tmpo.Session(path=folder)
        session.host, session.crt = f"127.0.0.1:{WEB}", False
        session.add(sid, token)

        def sync(name):
            session.sync(sid)
            check(name, session.series(sid, datetime=False), sid, listed(sid, token))

        wait_until(2500)
        sync("first sync")
        gateway.kill()
        print("kill -9")
        gateway.start()
        wait_until(4000 + 600)
        sync("second sync, after a compaction to levels 12 and 16")
        gateway.kill()
        print("kill -9")
        gateway.start()
        session.sync(sid)
        wait_until(4000 + 4096 + 600)
        sync("third sync")
        session.sync(sid)
        time.sleep(1)

        told = {int(at) for at in session.series(sid, datetime=False).index.astype("int64")}
        end = max(bid + 2**lvl for lvl, bid in listed(sid, token))
        there = [at for at, _ in heard(os.path.join(folder, "heard")) if at < end]
        missing = [at for at in there if at not in told]
        # What came within the commit interval before a kill may be lost: a second, at this speed 64.
        print(f"heard over MQTT: {len(there)}; not in the history: {len(missing)} (one a kill at most)")
        assert len(there) > 60 and len(missing) <= 2, missing
    finally:
        for process in (listener, meter, gateway.process):
            if process:
                process.kill()
    print("done:", folder)


main()
