package zookeras;

import org.apache.spark.storage.BlockManagerId;

/** Where a block manager is, and whose it is for messages ("rank 2", "the driver"). */
record Peer(String who, String host, int port, String executor) {
  static Peer read(Request request, String who) {
    return new Peer(who, request.text(), request.number(), request.text());
  }

  boolean isHere() {
    BlockManagerId here = Blocks.here();
    return executor.equals(here.executorId()) && port == here.port() && host.equals(here.host());
  }

  @Override
  public String toString() {
    return who + " (host " + host + ", executor " + executor + ")";
  }
}
