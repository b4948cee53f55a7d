package zookeras;

import java.nio.ByteBuffer;
import java.util.List;

/** What one exchange fetches from one peer: block names, and for each the buffers it goes into. */
record Plan(int peer, List<String> names, List<List<ByteBuffer>> places) {
  List<Target> targets() {
    return places.stream().map(Target::new).toList();
  }
}
