package zookeras;

import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.spark.storage.BlockManagerId;

/**
 * Serves the commands of one Python process, one after the other. All that was shared and published
 * through a connection is taken back when it ends, however it ends.
 */
final class Connection {
  private static final int OK = 0;

  private final Line line;
  private final Lease lease;
  private final Thread thread = Thread.currentThread();
  private final Map<Integer, Mapping> mappings = new HashMap<>();
  private final Map<String, Published> published = new LinkedHashMap<>();
  private final Map<Integer, Group> groups = new HashMap<>();
  private final Map<Integer, List<Plan>> plans = new HashMap<>();
  private int lastHandle;
  private boolean ending;

  /** A block of this connection: whether the master knows it, and the memory it lies in. */
  private record Published(boolean told, Set<Mapping> memory) {}

  Connection(Line line, Lease lease) {
    this.line = line;
    this.lease = lease;
  }

  static void daemon(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    thread.start();
  }

  void serve() throws IOException {
    lease.add(this);
    try {
      line.answer(OK, new byte[0]);
      for (Request request = line.next(); request != null; request = line.next()) {
        serve(request);
      }
    } finally {
      takeBack();
      lease.remove(this);
    }
  }

  private void serve(Request request) throws IOException {
    ByteArrayOutputStream answer = new ByteArrayOutputStream();
    try {
      command(request, new DataOutputStream(answer));
    } catch (BridgeException e) {
      refuse(e.kind, e.getMessage());
      return;
    } catch (InterruptedException e) {
      refuse(BridgeException.CANCELLED, "the task has ended");
      return;
    } catch (Exception | LinkageError e) { // Scala throws checked exceptions undeclared
      refuse(BridgeException.OTHER, e.toString());
      return;
    }
    line.answer(OK, answer.toByteArray());
  }

  private void refuse(int kind, String message) throws IOException {
    line.answer(kind, message.getBytes(StandardCharsets.UTF_8));
  }

  private void command(Request request, DataOutputStream answer)
      throws IOException, BridgeException, InterruptedException {
    switch (request.op()) {
      case 'I' -> write(Blocks.here(), answer);
      case 'N' -> answer.writeInt(Blocks.count());
      case 'M' -> map(request, answer);
      case 'U' -> unmap(request);
      case 'P' -> publish(request);
      case 'W' -> withdraw(request.text());
      case 'L' -> write(Blocks.locate(request.text()), answer);
      case 'F' -> fetch(request);
      case 'G' -> group(request, answer);
      case 'J' -> join(request);
      case 'T' -> plan(request, answer);
      case 'X' -> exchange(request);
      case 'C' -> checkTask();
      default -> throw new IOException("unknown command");
    }
  }

  private static void write(BlockManagerId id, DataOutputStream answer) throws IOException {
    if (id != null) {
      answer.writeUTF(id.host());
      answer.writeInt(id.port());
      answer.writeUTF(id.executorId());
      answer.writeLong(ProcessHandle.current().pid());
    }
  }

  private void map(Request request, DataOutputStream answer) throws IOException {
    Mapping mapping = new Mapping(request.text(), request.longNumber());
    mappings.put(++lastHandle, mapping);
    answer.writeInt(lastHandle);
  }

  private void unmap(Request request) {
    int handle = request.number();
    Mapping mapping = mapping(handle);
    if (published.values().stream().anyMatch(block -> block.memory().contains(mapping))) {
      throw new IllegalStateException("blocks are still published from this region");
    }
    mappings.remove(handle);
    mapping.close();
  }

  private void publish(Request request) throws IOException {
    String name = request.text();
    boolean tellMaster = request.flag();
    Set<Mapping> memory = new HashSet<>();
    Blocks.put(name, new SharedBlock(parts(request, memory)), tellMaster);
    published.put(name, new Published(tellMaster, memory));
  }

  private void withdraw(String name) {
    Published block = published.remove(name);
    if (block != null) {
      Blocks.remove(name, block.told());
    }
  }

  private Mapping mapping(int handle) {
    Mapping mapping = mappings.get(handle);
    if (mapping == null) {
      throw new IllegalArgumentException("no such region");
    }
    return mapping;
  }

  /** A list of (region, offset, length), as the buffers they stand for. */
  private List<ByteBuffer> parts(Request request) {
    return parts(request, new HashSet<>());
  }

  private List<ByteBuffer> parts(Request request, Set<Mapping> memory) {
    int count = request.count(20);
    List<ByteBuffer> buffers = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      Mapping mapping = mapping(request.number());
      memory.add(mapping);
      mapping.slice(request.longNumber(), request.longNumber(), buffers);
    }
    return buffers;
  }

  private void fetch(Request request) throws BridgeException, InterruptedException, IOException {
    Peer peer = Peer.read(request, request.text());
    long timeout = request.longNumber();
    String name = request.text();
    Target target = new Target(parts(request));
    try {
      if (peer.isHere()) {
        copy(peer, name, target);
      } else {
        fetch(peer, name, target, timeout);
      }
    } finally {
      target.revoke();
    }
  }

  /** A block of this process may go away like any other, while it is read too. */
  private static void copy(Peer peer, String name, Target target)
      throws BridgeException, InterruptedException {
    try {
      Blocks.copy(name, target);
    } catch (Exception e) { // Scala throws checked exceptions undeclared
      if (e instanceof InterruptedException ended) {
        throw ended;
      }
      String text = "block " + name + " of " + peer + ": " + e;
      throw new BridgeException(BridgeException.PEER_LOST, text);
    }
  }

  private static void fetch(Peer peer, String name, Target target, long timeout)
      throws BridgeException, InterruptedException {
    CompletableFuture<Void> done = new CompletableFuture<>();
    new Fetch(
            peer,
            List.of(name),
            List.of(target),
            e -> {
              if (e == null) {
                done.complete(null);
              } else {
                done.completeExceptionally(e);
              }
            })
        .start();
    try {
      done.get(timeout, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      String text = "block " + name + " of " + peer + ": " + e.getCause();
      throw new BridgeException(BridgeException.PEER_LOST, text);
    } catch (TimeoutException e) {
      String text = "block " + name + " of " + peer + " did not come in time";
      throw new BridgeException(BridgeException.TIMEOUT, text);
    }
  }

  private void group(Request request, DataOutputStream answer) throws IOException {
    Group group = new Group(request.text(), request.number(), request.number());
    try {
      group.hangBells();
    } finally {
      group.bellNames().forEach(name -> published.put(name, new Published(false, Set.of())));
    }
    groups.put(++lastHandle, group);
    answer.writeInt(lastHandle);
  }

  private Group group(int handle) {
    Group group = groups.get(handle);
    if (group == null) {
      throw new IllegalArgumentException("no such group");
    }
    return group;
  }

  private void join(Request request) throws IOException, InterruptedException {
    Group group = group(request.number());
    int count = request.count(8);
    List<Peer> peers = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      peers.add(Peer.read(request, "rank " + i));
    }
    group.join(peers);
  }

  /** Remembers whom an exchange is with, and for each of them blocks and where they go. */
  private void plan(Request request, DataOutputStream answer) throws IOException {
    int size = group(request.number()).peers.length;
    int count = request.count(8);
    List<Plan> all = new ArrayList<>(count);
    for (int i = 0; i < count; i++) {
      int peer = Objects.checkIndex(request.number(), size);
      int blocks = request.count(6);
      Plan plan = new Plan(peer, new ArrayList<>(blocks), new ArrayList<>(blocks));
      for (int j = 0; j < blocks; j++) {
        plan.names().add(request.text());
        plan.places().add(parts(request));
      }
      all.add(plan);
    }
    plans.put(++lastHandle, all);
    answer.writeInt(lastHandle);
  }

  private void checkTask() throws BridgeException {
    String reason = lease.cancelled();
    if (reason != null) {
      throw new BridgeException(BridgeException.CANCELLED, "Spark has stopped this rank: " + reason);
    }
  }

  private void exchange(Request request) throws BridgeException, InterruptedException {
    Group group = group(request.number());
    List<Plan> what = plans.get(request.number());
    if (what == null) {
      throw new IllegalArgumentException("no such plan");
    }
    new Exchange(group, lease, request.longNumber(), what).run(request.longNumber());
  }

  /** Ends the connection from outside, when its task has ended. */
  synchronized void close() {
    if (ending) {
      return;
    }
    try {
      line.close();
    } catch (IOException e) {
      // closed already
    }
    thread.interrupt();
  }

  /**
   * Blocks first: their removal waits until no peer is being sent them; only then may memory go.
   */
  private void takeBack() {
    synchronized (this) {
      ending = true;
      Thread.interrupted();
    }
    List<String> names = new ArrayList<>(published.keySet());
    Collections.reverse(names);
    names.forEach(this::withdraw);
    mappings.values().forEach(Mapping::close);
  }
}
