// Reads and writes record batches with Kafka's own classes, for test_batches.py.
//   read FILE    one line per batch and per record, as tools that dump a segment see them
//   write FILE   one batch per codec, idempotent, then the marker of a committed transaction

import java.io.File;
import java.io.FileOutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.record.internal.Record;

public class Batches {
    public static void main(String[] arguments) throws Exception {
        File file = new File(arguments[1]);
        if (arguments[0].equals("read")) {
            read(file);
        } else {
            write(file);
        }
    }

    static void read(File file) throws Exception {
        try (FileRecords records = FileRecords.open(file)) {
            for (RecordBatch batch : records.batches()) {
                batch.ensureValid();
                System.out.printf(
                    "batch %d %d %d %s %d %d %d %d %s%n",
                    batch.baseOffset(), batch.lastOffset(), batch.partitionLeaderEpoch(),
                    batch.compressionType().name, batch.producerId(), batch.producerEpoch(),
                    batch.baseSequence(), batch.lastSequence(),
                    batch.isControlBatch() ? "control" : "data");
                for (Record record : batch) {
                    record.ensureValid();
                    System.out.printf(
                        "record %d %d %s %s", record.offset(), record.timestamp(),
                        hex(record.key()), hex(record.value()));
                    for (Header header : record.headers()) {
                        ByteBuffer value = header.value() == null ? null : ByteBuffer.wrap(header.value());
                        System.out.printf(" %s=%s", header.key(), hex(value));
                    }
                    System.out.println();
                }
            }
        }
    }

    static String hex(ByteBuffer data) {
        if (data == null) {
            return "null";
        }
        byte[] bytes = new byte[data.remaining()];
        data.duplicate().get(bytes);
        return "x" + HexFormat.of().formatHex(bytes);
    }

    static void write(File file) throws Exception {
        try (FileChannel out = new FileOutputStream(file).getChannel()) {
            int sequence = 0;
            for (CompressionType type : CompressionType.values()) {
                Header[] headers = {new RecordHeader("name", "x".getBytes()), new RecordHeader("none", null)};
                SimpleRecord[] records = {
                    new SimpleRecord(1000, "key".getBytes(), "value".repeat(300).getBytes(), headers),
                    new SimpleRecord(1007, (byte[]) null, null),
                    new SimpleRecord(995, "last".getBytes(), new byte[0]),
                };
                MemoryRecords made = MemoryRecords.withIdempotentRecords(
                    100 + sequence, Compression.of(type).build(), 7L, (short) 2, sequence, 4, records);
                made.writeFullyTo(out);
                sequence += records.length;
            }
            MemoryRecords.withEndTransactionMarker(
                100 + sequence, 2000L, 4, 7L, (short) 2,
                new EndTransactionMarker(ControlRecordType.COMMIT, 0)).writeFullyTo(out);
        }
    }
}
