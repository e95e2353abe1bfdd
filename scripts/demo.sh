#!/usr/bin/env bash
# The main job from end to end on a small generated data set, in an environment of its own:
# pictures with VOC annotations -> TFRecords -> training -> evaluation -> SavedModel -> boxes on
# pictures that the model has not seen.
#
#   scripts/demo.sh [output folder]        default: demo_output
#
# STEPS=60 scripts/demo.sh trains less and detects worse.
set -euo pipefail
source "$(dirname "$0")/common.sh"
OUTPUT="$(mkdir -p "${1:-demo_output}" && cd "${1:-demo_output}" && pwd)"
STEPS="${STEPS:-300}"
make_venv
install "$ROOT"

# Away from the sources, so that the installed package is what runs.
cd "$OUTPUT"
CONFIG="$ROOT/samples/configs/faster_rcnn_mobilenet_v1_synthetic.config"
DATA="$OUTPUT/data"
LABELS="$OUTPUT/label_map.pbtxt"
MODEL="$OUTPUT/model"
EXPORT="$OUTPUT/export"
rm -rf "$DATA" "$MODEL" "$EXPORT" "$OUTPUT/detections"

step() { printf '\n== %s\n' "$1"; }
seconds_at_start=$SECONDS

step "1/6 Drawing pictures with VOC annotations"
create_synthetic_voc --output_dir="$DATA" --num_train=240 --num_val=40 --seed=1

step "2/6 Annotations to TFRecords"
for set in train val; do
  create_pascal_tf_record --data_dir="$DATA" --set="$set" \
    --label_map_path="$DATA/label_map.pbtxt" --output_path="$OUTPUT/$set.record"
done
cp "$DATA/label_map.pbtxt" "$LABELS"

PATHS=(
  --override="train_input_reader.tf_record_input_reader.input_path=$OUTPUT/train.record"
  --override="train_input_reader.label_map_path=$LABELS"
  --override="eval_input_reader[0].tf_record_input_reader.input_path=$OUTPUT/val.record"
  --override="eval_input_reader[0].label_map_path=$LABELS"
)

step "3/6 Training $STEPS steps"
model_main_tf2 --pipeline_config_path="$CONFIG" --model_dir="$MODEL" \
  --num_train_steps="$STEPS" "${PATHS[@]}"

step "4/6 Evaluation on pictures it has not seen"
model_main_tf2 --pipeline_config_path="$CONFIG" --model_dir="$MODEL" \
  --checkpoint_dir="$MODEL" --eval_once "${PATHS[@]}"

step "5/6 Export to a SavedModel"
exporter_main_v2 --pipeline_config_path="$CONFIG" --trained_checkpoint_dir="$MODEL" \
  --output_directory="$EXPORT"

step "6/6 Detecting in six of them"
head -n 6 "$DATA/ImageSets/Main/val.txt" | sed "s|.*|$DATA/JPEGImages/&.jpg|" >"$OUTPUT/pictures.txt"
IMAGES=()
while read -r picture; do IMAGES+=(--images="$picture"); done <"$OUTPUT/pictures.txt"
detect_objects --saved_model_dir="$EXPORT/saved_model" --label_map_path="$LABELS" \
  "${IMAGES[@]}" --output_dir="$OUTPUT/detections" --min_score=0.5

step "Done in $((SECONDS - seconds_at_start)) s after installation. Look at:"
find "$OUTPUT/detections" -name '*.jpg' -o -name '*.png' | sort
