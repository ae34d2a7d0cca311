// The judge of the audit log: golang.org/x/mod/sumdb, which verifies Go's own log of modules, reads ours.
//
// It reads one case a line from standard input, as JSON, and answers each with a line: "accepted", or what it refuses.
// A case is a whole log (its files, older checkpoints, and the commits of the audit that it is made of), or a receipt.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const height = 8 // of a tile (C2SP tlog-tiles)
const width = 1 << height

type testCase struct {
	Key         string
	Files       map[string][]byte
	Checkpoints [][]byte
	Commits     []commit
	Receipt     *receipt
}

type commit struct {
	Seq     uint64
	At      uint64
	Records [][]byte
}

type receipt struct {
	Format     string         `json:"format"`
	Checkpoint string         `json:"checkpoint"`
	Commits    []provenCommit `json:"commits"`
}

type provenCommit struct {
	Seq       uint64         `json:"seq,string"`
	At        uint64         `json:"committed_at,string"`
	Count     int64          `json:"record_count"`
	Inclusion [][]byte       `json:"inclusion"`
	Records   []provenRecord `json:"records"`
}

type provenRecord struct {
	Number int64    `json:"number"`
	Record []byte   `json:"record"`
	Path   [][]byte `json:"path"`
}

func main() {
	lines := bufio.NewReader(os.Stdin)
	for {
		line, err := lines.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			return
		}
		if err := judge(line); err != nil {
			fmt.Println("refused:", strings.ReplaceAll(err.Error(), "\n", " "))
		} else {
			fmt.Println("accepted")
		}
	}
}

func judge(line []byte) (err error) {
	var one testCase
	if err := json.Unmarshal(line, &one); err != nil {
		return err
	}
	verifier, err := note.NewVerifier(one.Key)
	if err != nil {
		return err
	}
	if one.Receipt != nil {
		return judgeReceipt(one.Receipt, verifier)
	}
	return judgeLog(&one, verifier)
}

// openTree returns the tree that a signed checkpoint is of (C2SP tlog-checkpoint).
func openTree(octets []byte, verifier note.Verifier) (tree tlog.Tree, err error) {
	opened, err := note.Open(octets, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return tree, errors.New("no checkpoint of this log")
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	tree.Hash, err = tlog.ParseHash(lines[2])
	return tree, err
}

// files serves the tiles of a log from its files; what they hold is verified by tlog.TileHashReader.
type files map[string][]byte

func (f files) Height() int                             { return height }
func (f files) SaveTiles(tiles []tlog.Tile, _ [][]byte) {}
func (f files) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var found [][]byte
	for _, tile := range tiles {
		octets, err := f.read(tile)
		if err != nil {
			return nil, err
		}
		found = append(found, octets)
	}
	return found, nil
}

func (f files) read(tile tlog.Tile) ([]byte, error) {
	path := "tile/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/", height)) // C2SP leaves the height out
	octets, ok := f[path]
	if !ok || len(octets) != tile.W*tlog.HashSize {
		return nil, fmt.Errorf("%s is missing, or has another size", path)
	}
	return octets, nil
}

func judgeLog(one *testCase, verifier note.Verifier) error {
	tree, err := openTree(one.Files["checkpoint"], verifier)
	if err != nil {
		return err
	}
	hashes := tlog.TileHashReader(tree, files(one.Files))
	entries, err := allEntries(one.Files, tree.N)
	if err != nil {
		return err
	}
	for i, entry := range entries {
		proof, err := tlog.ProveRecord(tree.N, int64(i), hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(i), tlog.RecordHash(entry)); err != nil {
			return fmt.Errorf("entry %d: %w", i, err)
		}
	}
	if err := allTiles(one.Files, tree.N, hashes); err != nil {
		return err
	}
	if err := consistent(one.Checkpoints, tree, hashes, verifier); err != nil {
		return err
	}
	return sameCommits(one.Commits, entries)
}

// allTiles compares every tile there is with what the authenticated reader makes of the ones below it.
func allTiles(f files, size int64, hashes tlog.HashReader) error {
	tiles := tlog.NewTiles(height, 0, size)
	for i, tile := range tiles {
		if i+1 < len(tiles) && tiles[i+1].L == tile.L && tiles[i+1].N == tile.N {
			continue // a partial tile comes in every width up to the one that it has
		}
		stored, err := f.read(tile)
		if err != nil {
			return err
		}
		made, err := tlog.ReadTileData(tile, hashes)
		if err != nil {
			return err
		}
		if !bytes.Equal(stored, made) {
			return fmt.Errorf("%s is another one", tile.Path())
		}
	}
	return nil
}

func allEntries(f map[string][]byte, size int64) (entries [][]byte, err error) {
	for first := int64(0); first < size; first += width {
		tile := tlog.Tile{H: height, L: -1, N: first / width, W: int(min(size-first, width))}
		path := "tile/entries/" + strings.TrimPrefix(tile.Path(), fmt.Sprintf("tile/%d/data/", height))
		octets, ok := f[path]
		if !ok {
			return nil, fmt.Errorf("%s is missing", path)
		}
		number := 0
		for len(octets) > 0 {
			if len(octets) < 2 || len(octets) < 2+int(binary.BigEndian.Uint16(octets)) {
				return nil, fmt.Errorf("%s ends within an entry", path)
			}
			end := 2 + int(binary.BigEndian.Uint16(octets))
			entries, octets = append(entries, octets[2:end]), octets[end:]
			number++
		}
		if number != tile.W {
			return nil, fmt.Errorf("%s has %d entries", path, number)
		}
	}
	return entries, nil
}

func min(a, b int64) int64 {
	if a < b {
		return a
	}
	return b
}

// consistent proves each checkpoint to be the beginning of the next, and of the newest.
func consistent(checkpoints [][]byte, tree tlog.Tree, hashes tlog.HashReader, verifier note.Verifier) error {
	for _, octets := range checkpoints {
		older, err := openTree(octets, verifier)
		if err != nil {
			return err
		}
		if older.N > tree.N {
			return fmt.Errorf("there was a checkpoint of %d, and the log has %d", older.N, tree.N)
		}
		if older.N == tree.N {
			if older.Hash != tree.Hash {
				return fmt.Errorf("two checkpoints of %d", tree.N)
			}
			continue
		}
		proof, err := tlog.ProveTree(tree.N, older.N, hashes)
		if err != nil {
			return err
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, older.N, older.Hash); err != nil {
			return fmt.Errorf("the checkpoint of %d: %w", older.N, err)
		}
	}
	return nil
}

// sameCommits makes the entries anew from the commits of the audit.
func sameCommits(commits []commit, entries [][]byte) error {
	if len(commits) != len(entries) {
		return fmt.Errorf("%d commits, and %d entries", len(commits), len(entries))
	}
	for i, one := range commits {
		root, err := rootOf(one.Records)
		if err != nil {
			return err
		}
		if !bytes.Equal(entry(one.Seq, one.At, uint32(len(one.Records)), root), entries[i]) {
			return fmt.Errorf("commit %d is not what the log has of it", i+1)
		}
	}
	return nil
}

func rootOf(records [][]byte) (tlog.Hash, error) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		found := make([]tlog.Hash, len(indexes))
		for i, index := range indexes {
			found[i] = stored[index]
		}
		return found, nil
	})
	for i, record := range records {
		made, err := tlog.StoredHashes(int64(i), record, reader)
		if err != nil {
			return tlog.Hash{}, err
		}
		stored = append(stored, made...)
	}
	return tlog.TreeHash(int64(len(records)), reader)
}

func entry(seq, at uint64, count uint32, root tlog.Hash) []byte {
	octets := []byte{1}
	octets = binary.BigEndian.AppendUint64(octets, seq)
	octets = binary.BigEndian.AppendUint64(octets, at)
	octets = binary.BigEndian.AppendUint32(octets, count)
	return append(octets, root[:]...)
}

func judgeReceipt(one *receipt, verifier note.Verifier) error {
	tree, err := openTree([]byte(one.Checkpoint), verifier)
	if err != nil {
		return err
	}
	if one.Format != "smsgw-receipt-1" || len(one.Commits) == 0 {
		return errors.New("no receipt")
	}
	for _, commit := range one.Commits {
		if len(commit.Records) == 0 {
			return errors.New("a commit without a record")
		}
		root, err := rootOfPath(commit.Records[0], commit.Count)
		if err != nil {
			return err
		}
		for _, record := range commit.Records {
			proof, err := proofOf(record.Path)
			if err != nil {
				return err
			}
			hash := tlog.RecordHash(record.Record)
			if err := tlog.CheckRecord(proof, commit.Count, root, record.Number, hash); err != nil {
				return fmt.Errorf("record %d of commit %d: %w", record.Number, commit.Seq, err)
			}
		}
		proof, err := proofOf(commit.Inclusion)
		if err != nil {
			return err
		}
		leaf := tlog.RecordHash(entry(commit.Seq, commit.At, uint32(commit.Count), root))
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, int64(commit.Seq)-1, leaf); err != nil {
			return fmt.Errorf("commit %d: %w", commit.Seq, err)
		}
	}
	return nil
}

func proofOf(hashes [][]byte) (proof tlog.RecordProof, err error) {
	for _, octets := range hashes {
		hash, err := tlog.ParseHash(base64.StdEncoding.EncodeToString(octets))
		if err != nil {
			return nil, err
		}
		proof = append(proof, hash)
	}
	return proof, nil
}

// rootOfPath returns where a path leads: x/mod only says whether it leads to a root that is known.
func rootOfPath(record provenRecord, size int64) (root tlog.Hash, err error) {
	if record.Number < 0 || record.Number >= size {
		return root, errors.New("no such record")
	}
	proof, err := proofOf(record.Path)
	if err != nil {
		return root, err
	}
	var right []bool
	for n := record.Number; size > 1; {
		half := int64(1)
		for half*2 < size {
			half *= 2
		}
		right = append(right, n >= half)
		if n >= half {
			n, size = n-half, size-half
		} else {
			size = half
		}
	}
	if len(right) != len(proof) {
		return root, errors.New("a path of another length")
	}
	root = tlog.RecordHash(record.Record)
	for i, beside := range proof {
		if right[len(right)-1-i] {
			root = tlog.NodeHash(beside, root)
		} else {
			root = tlog.NodeHash(root, beside)
		}
	}
	return root, nil
}
